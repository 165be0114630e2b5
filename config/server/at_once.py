"""Answers that a web process gives without gunicorn's parser and WSGI.

To hand a request to a thread and its connection back costs several times what an answer from
memory does. So an application may offer such answers as `from_memory`: by path, a function that
gives headers and body of a 200 answer, or None where it would have to wait, or refuse, or does not
understand. The main thread calls it, so nothing there waits.

For a POST that arrives whole it may offer `with_body`: by path, a function of headers and body that
gives status, headers and body of any answer. A thread of the pool calls it, so it may wait. Where
either gives None the request takes the ordinary way, as if nobody had looked at it. A function that
raises is answered 500.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from functools import partial
from http.client import responses
from types import MappingProxyType

from gunicorn.http.wsgi import SERVER
from gunicorn.util import http_date

from config.server import plain
from config.server.http import FAILED

Headers = list[tuple[str, str]]
FromMemory = Callable[[str, Mapping[str, str]], tuple[Headers, bytes] | None]
WithBody = Callable[[Mapping[str, str], bytes], tuple[int, Headers, bytes] | None]
Job = Callable[[], bytes | None]

FAILURE = (
    FAILED.status,
    [
        *((name.decode(), value.decode()) for name, value in FAILED.headers),
        ("content-length", str(len(FAILED.body))),
    ],
    FAILED.body,
)

log = logging.getLogger(__name__)


class AtOnce:
    """The answers of one application, as the bytes that gunicorn would send."""

    def __init__(
        self,
        from_memory: Mapping[str, FromMemory],
        with_body: Mapping[str, WithBody] = MappingProxyType({}),
    ) -> None:
        self._from_memory = from_memory
        self._with_body = with_body
        self._second = (0, "")  # and what an answer begins with in it, after its status

    def answer(self, said: bytes) -> bytes | None:
        """The answer to what a client said; None when it has to take the ordinary way."""
        request = plain.read(said, self._from_memory)
        if request is None:
            return None
        try:
            found = self._from_memory[request.path](request.query, request.headers)
        except Exception:  # the loop of all connections must go on
            log.exception("no answer from memory: %s", request.path)
            return None
        if found is None:
            return None
        headers, body = found
        return self._whole(200, headers, body)

    def job(self, said: bytes) -> Job | None:
        """What a thread does to answer what a client said; None where that is gunicorn's business.

        The thread hears the answer, or None when it has to take the ordinary way.
        """
        request = plain.read_post(said, self._with_body)
        return None if request is None else partial(self._carry_out, request)

    def _carry_out(self, request: plain.PlainPost) -> bytes | None:
        try:
            found = self._with_body[request.path](request.headers, request.body)
            return None if found is None else self._whole(*found)
        except Exception:  # what was begun is not to be begun again on the ordinary way
            log.exception("POST %s failed", request.path)
            return self._whole(*FAILURE)

    def _whole(self, status: int, headers: Headers, body: bytes) -> bytes:
        lines = "".join([f"{name}: {value}\r\n" for name, value in headers])
        begin = f"HTTP/1.1 {status} {responses[status]}\r\n{self._begun()}"
        return (begin + lines + "\r\n").encode("latin-1") + body

    def _begun(self) -> str:
        now, (second, begin) = int(time.time()), self._second
        if now != second:
            begin = f"Server: {SERVER}\r\nDate: {http_date(now)}\r\nConnection: keep-alive\r\n"
            self._second = (now, begin)
        return begin
