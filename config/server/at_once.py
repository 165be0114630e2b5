"""Answers that a web process gives on its main thread, without waiting for anything.

To hand a request to a thread and its connection back costs several times what an answer from
memory does. So an application may offer such answers as `from_memory`: by path, a function that
gives headers and body of a 200 answer, or None where it would have to wait, or refuse, or does not
understand. Then the request takes the ordinary way, as if nobody had looked at it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping

from gunicorn.http.wsgi import SERVER
from gunicorn.util import http_date

from config.server import plain

Headers = list[tuple[str, str]]
FromMemory = Callable[[str, Mapping[str, str]], tuple[Headers, bytes] | None]

log = logging.getLogger(__name__)


class AtOnce:
    """The answers of one application, as the bytes that gunicorn would send."""

    def __init__(self, from_memory: Mapping[str, FromMemory]) -> None:
        self._from_memory = from_memory
        self._begin_of = 0  # the second that `_begin` was made in
        self._begin = ""

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
        lines = "".join([f"{name}: {value}\r\n" for name, value in headers])
        return (self._begun() + lines + "\r\n").encode("latin-1") + body

    def _begun(self) -> str:
        now = int(time.time())
        if now != self._begin_of:
            self._begin = (
                f"HTTP/1.1 200 OK\r\nServer: {SERVER}\r\nDate: {http_date(now)}\r\n"
                "Connection: keep-alive\r\n"
            )
            self._begin_of = now
        return self._begin
