"""The busy application with answers from memory: `/memory?9` is nine bytes.

`/memory?wait` would have to wait, `/memory?break` breaks; the ordinary way then says `0`.
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


application = Application()
