"""Waiting for something to become true, as long as a slow and busy machine may take."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

PATIENCE_SECONDS = 30.0
LOOK_EVERY_SECONDS = 0.01


def eventually(
    holds: Callable[[], Any], what: str = "that", seconds: float = PATIENCE_SECONDS
) -> float:
    """Ask until the answer is yes; the seconds that took. Fails with `what` after `seconds`."""
    begun = time.monotonic()
    while not holds():
        waited = time.monotonic() - begun
        assert waited < seconds, f"waited {seconds:.0f} s in vain for {what}"
        time.sleep(LOOK_EVERY_SECONDS)
    return time.monotonic() - begun
