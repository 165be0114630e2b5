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
        self._heard = asyncio.Event()

    def raise_(self) -> None:
        """Something was lost before whatever is heard next."""
        self.is_open = True
        self._needed = None
        self._heard.clear()

    def hear(self, batch: Batch) -> None:
        """A batch arrived: what was lost came before it."""
        if self.is_open and self._needed is None:
            self._needed = batch.place
            self._heard.set()

    async def heard_since(self) -> None:
        """Wait for the first batch after the loss: a mute bus or feed leaves the doubt."""
        await self._heard.wait()

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
        self._running: asyncio.Task[None] | None = None

    def lost(self) -> None:
        """Something was lost: begin, unless begun."""
        self.doubt.raise_()
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._run())

    def stop(self) -> None:
        """Nobody listens any more: whoever comes next begins without doubt."""
        if self._running is not None:
            self._running.cancel()
        self._running, self.doubt = None, Doubt()

    async def _run(self) -> None:
        """Take stock at once, and again when the store has all that may have been lost."""
        has_stock = False
        while self.doubt.is_open:
            try:
                place = await self._place()  # first, for what is read then is not older
                if self.doubt.is_covered_by(place) or not has_stock:
                    await self._take_stock()
                    has_stock = True
                    self.doubt.settle(place)
            except Exception:
                log.exception("the store of latest quotes did not answer")
            if self.doubt.is_open:
                await self.doubt.heard_since()
                await asyncio.sleep(RETRY_SECONDS)
