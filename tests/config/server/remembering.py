"""The busy application with answers from memory: `/memory?9` is nine bytes.

`/memory?wait` would have to wait, `/memory?break` breaks; the ordinary way then says `0`. What is
posted whole to `/body` comes back, with 422 in front of it where it is `wrong`; `other` is none of
its business, and `break` breaks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tests.config.server import busy

Answer = tuple[list[tuple[str, str]], bytes]


class Application:
    """What a WSGI server and our worker look for."""

    def __init__(self) -> None:
        self.from_memory = {"/memory": from_memory}
        self.with_body = {"/body": with_body}

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        return busy.application(environ, start_response)


def from_memory(query: str, headers: Mapping[str, str]) -> Answer | None:
    if query == "wait":
        return None
    if query == "break":
        raise RuntimeError("broken on purpose")
    body = b"m" * int(query)
    return [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))], body


def with_body(
    headers: Mapping[str, str], body: bytes
) -> tuple[int, list[tuple[str, str]], bytes] | None:
    if body == b"other":
        return None
    if body == b"break":
        raise RuntimeError("broken on purpose")
    status = 422 if body == b"wrong" else 200
    return status, [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))], body


application = Application()
