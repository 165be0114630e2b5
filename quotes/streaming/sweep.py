"""What is looked at again and again, for as long as anybody needs it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable


class Sweep:
    """Work that one event loop does once in a while, whatever fails in it.

    It is handed over with every start and not kept after the end: its owner keeps this.
    """

    __slots__ = ("_going_on",)

    def __init__(self) -> None:
        self._going_on: asyncio.Task[None] | None = None

    @property
    def goes_on(self) -> bool:
        return self._going_on is not None

    def start(
        self,
        work: Callable[[], Awaitable[None]],
        every_seconds: float,
        say_it_failed: Callable[[], None],
    ) -> None:
        """Do the work after so many seconds, and so on. Twice is harmless.

        `say_it_failed` is called where an exception is at hand, for the log.
        """
        if self._going_on is None:
            self._going_on = asyncio.create_task(_go_on(work, every_seconds, say_it_failed))

    def end(self) -> None:
        """Nobody needs it any more. Twice is harmless."""
        if self._going_on is not None:
            self._going_on.cancel()
            self._going_on = None


async def _go_on(
    work: Callable[[], Awaitable[None]], every_seconds: float, say_it_failed: Callable[[], None]
) -> None:
    while True:
        await asyncio.sleep(every_seconds)
        try:
            await work()
        except Exception:
            say_it_failed()
