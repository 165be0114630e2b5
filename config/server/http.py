"""HTTP as an ASGI application that runs Django's WSGI handler in a fixed pool of threads.

Under Django's own ASGI handler each request runs in a new thread, at a fifth of the speed and
with a database connection that nobody reuses. Every queue here has a limit: a request beyond it,
or one that waited too long for a thread, is answered 503 before anything is stored.

An answer is gathered before it is sent. Ours are all bounded (lists are paged), and so no client,
however slowly it reads, holds a thread.
"""

from __future__ import annotations

import asyncio
import io
import logging
import sys
import time
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple
from urllib.parse import unquote_to_bytes

from prometheus_client import Counter

logger = logging.getLogger(__name__)

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Environ = dict[str, Any]
Wsgi = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]

WAITING_MAX = 256  # requests, each with at most one bounded body
WAIT_SECONDS_MAX = 5.0  # by then the client's own patience is about to end
WITHOUT_BODY = frozenset({204, 304})


class Answer(NamedTuple):
    """A whole HTTP answer."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


def _refusal(status: int, message: str, *headers: tuple[bytes, bytes]) -> Answer:
    """An error in the wire contract's form, for what never reaches Django."""
    body = b'{"code":%d,"message":"%s"}' % (status * 100_000 + 10_000, message.encode())
    return Answer(status, [(b"content-type", b"application/json"), *headers], body)


BUSY = _refusal(503, "service unavailable, nothing was stored", (b"retry-after", b"1"))
FAILED = _refusal(500, "internal server error")


REFUSED = Counter("openbell_requests_refused_total", "Requests that no thread had time for.")


class HttpApplication:
    """The ASGI application for scopes of type `http`."""

    def __init__(
        self,
        wsgi: Wsgi,
        *,
        threads: int,
        waiting_max: int = WAITING_MAX,
        wait_seconds_max: float = WAIT_SECONDS_MAX,
    ) -> None:
        self._wsgi = wsgi
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="http")
        self._taken = 0
        self._taken_max = threads + waiting_max
        self._wait_seconds_max = wait_seconds_max

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await _read_body(receive)
        if body is None:
            return
        answer: Answer | None = BUSY
        if self._taken < self._taken_max:
            self._taken += 1
            try:
                answer = await self._answer(environ(scope, body), receive)
            finally:
                self._taken -= 1
        if answer is BUSY:
            REFUSED.inc()
        if answer is not None:
            await _send_answer(answer, send, with_body=scope["method"] != "HEAD")

    def close(self) -> None:
        """End the threads; requests that run are finished, waiting ones are not begun."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    async def _answer(self, request: Environ, receive: Receive) -> Answer | None:
        """The answer, or None when the client left before a thread took its request."""
        asked_at = time.monotonic()
        job = self._pool.submit(self._in_thread, request, asked_at)
        done: asyncio.Future[Answer] = asyncio.wrap_future(job)
        gone = asyncio.ensure_future(receive())  # all that can follow a body is a disconnect
        both: set[asyncio.Future[Any]] = {done, gone}
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            if not done.done() and job.cancel():
                return None
            return await done  # begun is finished, also for a client that left
        finally:
            gone.cancel()

    def _in_thread(self, request: Environ, asked_at: float) -> Answer:
        if time.monotonic() - asked_at > self._wait_seconds_max:
            return BUSY
        try:
            return call(self._wsgi, request)
        except Exception:
            logger.exception("%s %s failed", request["REQUEST_METHOD"], request["PATH_INFO"])
            return FAILED


def call(wsgi: Wsgi, request: Environ) -> Answer:
    """Run a WSGI application and gather its answer."""
    started: list[Any] = []
    parts: list[bytes] = []

    def start_response(
        status: str, headers: list[tuple[str, str]], exc_info: Any = None
    ) -> Callable[[bytes], None]:
        started[:] = status, headers
        return parts.append

    chunks = wsgi(request, start_response)
    try:
        parts.extend(chunks)
    finally:
        close: Callable[[], None] = getattr(chunks, "close", lambda: None)
        close()
    status, headers = started
    return Answer(
        int(status.split(" ", 1)[0]),
        [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers],
        b"".join(parts),
    )


def environ(scope: Scope, body: bytes) -> Environ:
    """The WSGI environment of a request.

    The client address is the peer's: a forwarding header is only what somebody wrote, and a proxy
    in front of Django proper (gunicorn) is told apart there. Daphne lets a client's own
    `Daphne-Root-Path` header name the mount point, so that is not taken from the scope either.
    """
    server, client = scope.get("server") or ("localhost", 80), scope.get("client") or ("", 0)
    result: Environ = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(scope["raw_path"]).decode("latin-1"),
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_PROTOCOL": "HTTP/" + scope["http_version"],
        "SERVER_NAME": server[0],
        "SERVER_PORT": str(server[1]),
        "REMOTE_ADDR": client[0],
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope.get("scheme", "http"),
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        if name in ("content-length", "transfer-encoding"):
            continue  # of the body as it travelled; it is whole and plain by now
        key = "HTTP_" + name.upper().replace("-", "_")
        key = "CONTENT_TYPE" if name == "content-type" else key
        separator = "; " if name == "cookie" else ","
        result[key] = f"{result[key]}{separator}{value}" if key in result else value
    return result


async def _read_body(receive: Receive) -> bytes | None:
    """The body; None when the client left before it was complete."""
    parts: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


async def _send_answer(answer: Answer, send: Send, *, with_body: bool) -> None:
    status, headers, body = answer
    if status not in WITHOUT_BODY and not any(name == b"content-length" for name, _ in headers):
        headers = [*headers, (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body if with_body else b""})
