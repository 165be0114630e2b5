"""An application for the tests of the gunicorn worker: `/held` waits at a gate, the rest is quick.

As a settings module it says that there is no database to look at.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from tests.config.server.gate import Gate

SECRET_KEY = "only-for-tests"
ROOT_URLCONF = __name__
urlpatterns: list[object] = []

_running = 0
_most = 0
_lock = threading.Lock()


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answers how many requests ran at once at most."""
    global _running, _most
    with _lock:
        _running += 1
        _most = max(_most, _running)
    try:
        if environ["PATH_INFO"] == "/held":
            Gate(Path(environ["QUERY_STRING"])).hold()
    finally:
        with _lock:
            _running -= 1
    body = str(_most).encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
