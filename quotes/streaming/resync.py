"""Whether a hub may know less than the feed has said, and how it finds out.

Messages were lost: from then on the hub is in doubt, and says so in every heartbeat, until the
store is known to hold all that the feed said up to a batch that was heard after the loss. A feed
stores what is in a batch before it publishes the batch, and with it how far it has come.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from quotes.ticks import Batch, Place

RETRY_SECONDS = 0.25

log = logging.getLogger(__name__)


class Doubt:
    """Raised by a loss, settled by a store that has come far enough."""

    def __init__(self) -> None:
        self.is_open = False
        self._needed: Place | None = None  # None: no batch was heard since the loss

    def raise_(self) -> None:
        """Something was lost before whatever is heard next."""
        self.is_open = True
        self._needed = None

    def hear(self, batch: Batch) -> None:
        """A batch arrived: what was lost came before it."""
        if self.is_open and self._needed is None:
            self._needed = batch.place

    @property
    def may_end(self) -> bool:
        """Whether a batch was heard since the loss: a mute bus or feed leaves the doubt."""
        return self._needed is not None

    def is_covered_by(self, place: Place | None) -> bool:
        """Whether a store that has come to this place holds all that was lost."""
        return place is not None and self._needed is not None and place >= self._needed

    def settle(self, place: Place | None) -> None:
        """All was read from a store that had come to this place when the reading began."""
        if self.is_covered_by(place):
            self.is_open = False


class Resync:
    """Takes stock of what is stored, from a loss on until the doubt is settled."""

    def __init__(
        self,
        place: Callable[[], Awaitable[Place | None]],
        take_stock: Callable[[], Awaitable[None]],
    ) -> None:
        self.doubt = Doubt()
        self._place = place
        self._take_stock = take_stock
        self._owes = False  # somebody waits to be told, whatever was heard since
        self._running: asyncio.Task[None] | None = None

    def lost(self) -> None:
        """Something was lost: begin, unless begun."""
        self.doubt.raise_()
        if self._running is None or self._running.done():
            self.owe()

    def owe(self) -> None:
        """Take stock as soon as that is possible: somebody asked, and the store did not answer."""
        self._owes = True
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._run())

    def stop(self) -> None:
        """Nobody listens any more: whoever comes next begins without doubt."""
        if self._running is not None:
            self._running.cancel()
        self._running, self.doubt, self._owes = None, Doubt(), False

    async def _run(self) -> None:
        """Take stock at once, and again when the store has all that may have been lost."""
        while self.doubt.is_open or self._owes:
            if self.doubt.may_end or self._owes:
                await self._try()
            if self.doubt.is_open or self._owes:
                await asyncio.sleep(RETRY_SECONDS)

    async def _try(self) -> None:
        try:
            place = await self._place()  # first, for what is read then is not older
            if self.doubt.is_covered_by(place) or self._owes:
                self._owes = False
                await self._take_stock()
                self.doubt.settle(place)
        except Exception:
            log.exception("the store of latest quotes did not answer")
            self._owes = True
