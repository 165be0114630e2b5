"""Waiting for something to become true, as long as a slow and busy machine may take."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable
from typing import Any

PATIENCE_SECONDS = 30.0
LOOK_EVERY_SECONDS = 0.01
LOOK_ON_LOOP_EVERY_SECONDS = 0.001


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


async def until(
    holds: Callable[[], Any], what: str = "that", seconds: float = PATIENCE_SECONDS
) -> None:
    """The same on an event loop, which goes on meanwhile; what is asked may be a coroutine."""
    begun = time.monotonic()
    while True:
        answer = holds()
        if await answer if inspect.isawaitable(answer) else answer:
            return
        assert time.monotonic() - begun < seconds, f"waited {seconds:.0f} s in vain for {what}"
        await asyncio.sleep(LOOK_ON_LOOP_EVERY_SECONDS)
