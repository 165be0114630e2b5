"""The streams of the official client, run as its users run them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.waiting import PATIENCE_SECONDS


@contextmanager
def running(stream: Any) -> Iterator[None]:
    """The stream, connected in a thread of its own, and stopped."""
    thread = threading.Thread(target=stream.run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stream.stop()
        thread.join(PATIENCE_SECONDS)
    assert not thread.is_alive()
