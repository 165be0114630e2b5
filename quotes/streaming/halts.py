"""Which symbols are halted: by the news and, where those may have been missed, by the database."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

RETRY_SECONDS = 5.0

log = logging.getLogger(__name__)


class Halts:
    """What a hub knows of halts, and tells of them.

    `read` answers with the halted symbols and their reasons, `hearing` waits until news arrive, and
    `tell` gets each symbol whose halt began, has another reason, or ended (None).
    """

    def __init__(
        self,
        read: Callable[[], Awaitable[Mapping[str, str]]],
        hearing: Callable[[], Awaitable[bool]],
        tell: Callable[[str, str | None], None],
    ) -> None:
        self.known: dict[str, str] | None = None  # symbol → reason; None until it was found out
        self._read = read
        self._hearing = hearing
        self._tell = tell
        self._heard: dict[str, str | None] = {}  # since the reading that is under way began
        self._early: dict[str, str | None] = {}  # told before anything was known
        self._missed = False
        self._owes = False  # somebody asked before anything was known
        self._reading: asyncio.Task[bool] | None = None
        self._retrying: asyncio.Task[None] | None = None

    def hear(self, message: Mapping[str, Any]) -> None:
        """News of a halt, a resumption or something else."""
        if message["kind"] in ("halt", "resume"):
            is_halt = message["kind"] == "halt"
            self._note(message["symbol"], message.get("reason", "") if is_halt else None)

    def miss(self) -> None:
        """News may have been missed up to now: find out, however long that takes."""
        self._missed = True
        if self._retrying is None or self._retrying.done():
            self._retrying = asyncio.create_task(self._find_out())

    def has(self, symbol: str) -> bool | None:
        """Whether the symbol is halted. None where nothing is known: it is told when it is."""
        if self.known is None:
            self._owes = True
            self.miss()
            return None
        return symbol in self.known

    @property
    def is_in_doubt(self) -> bool:
        """Whether news may have been missed that no reading has made good yet."""
        return self._retrying is not None and not self._retrying.done()

    async def look(self) -> None:
        """Try once to find out, where nothing is known. All who ask wait for the same reading."""
        if self.known is None:
            await asyncio.shield(self._read_once())

    def stop(self) -> None:
        """Nobody hears of the next halt."""
        for task in (self._reading, self._retrying):
            if task is not None:
                task.cancel()
        self._reading = self._retrying = self.known = None
        self._missed = self._owes = False
        self._early = {}

    async def _find_out(self) -> None:
        while self._missed:  # a reading that had begun before does not count
            if not await asyncio.shield(self._read_once()):
                self._missed = True
                await asyncio.sleep(RETRY_SECONDS)

    def _read_once(self) -> asyncio.Task[bool]:
        """The one reading there is at a time; its result is whether it succeeded."""
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._look())
        return self._reading

    async def _look(self) -> bool:
        self._missed = False
        self._heard.clear()
        try:
            await self._hearing()
            stored = await self._read()
            self._settle({**stored, **self._heard})
        except Exception:
            log.exception("which symbols are halted could not be read")
            return False
        return True

    def _settle(self, found: Mapping[str, str | None]) -> None:
        """Take what was read, and over it what was heard meanwhile, which is newer."""
        if self.known is None:
            told = self._early if self._owes else {**found, **self._early}
            self._early = {}
            self.known = {symbol: why for symbol, why in told.items() if why is not None}
        for symbol in sorted({*self.known, *found}):
            if self.known.get(symbol) != found.get(symbol):
                self._note(symbol, found.get(symbol))

    def _note(self, symbol: str, reason: str | None) -> None:
        self._heard[symbol] = reason
        if self.known is None:
            self._early[symbol] = reason
        else:
            self.known.pop(symbol, None)
            if reason is not None:
                self.known[symbol] = reason
        self._tell(symbol, reason)
