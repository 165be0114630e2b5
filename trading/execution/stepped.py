"""The engine of a stepped market, where the same orders always get the same fills.

It acts at batches that move the market, and only then. While the market stands, orders wait; the
first batch of an advance finds them all. At the barrier everything is committed, and the clock's
row says so.
"""

from __future__ import annotations

from events.leases import Lease
from quotes.models import MarketClock
from quotes.ticks import Batch
from trading import margin_calls
from trading.execution.actions import latest_ticks
from trading.execution.engine import Engine
from trading.execution.matching import FillModel
from trading.execution.shards import WHOLE, Shard
from trading.execution.waiting import write_reasons


class SteppedEngine(Engine):
    """Acts at batches that move the market, and at the barrier says in the clock's row that
    everything is committed."""

    acts_by_wall = False

    def __init__(
        self,
        lease: Lease,
        model: FillModel = FillModel.NBBO,
        lanes: int = 1,
        shard: Shard = WHOLE,
    ) -> None:
        assert shard == WHOLE, "the order of events is that of one engine"
        super().__init__(lease, model, lanes, shard)
        self._settled_us = 0  # the last barrier
        self._target_us: int | None = None  # the advance that is being played

    def load(self) -> None:
        """Also let the last quotes and trades stand, and finish an advance played meanwhile.

        Orders in the book have met them already.
        """
        super().load()
        quotes, trades = latest_ticks(self.listing)
        for quote in quotes:
            self._taken.come_to(quote)
            self.floor.hear(quote)
        self.floor.standing.let_stand(trades)
        row = MarketClock.objects.get(pk=1)
        self._settled_us = row.settled_us
        if row.settled_us < row.advance_to_us <= row.watermark_us:
            self._begin_advance()
            self._pass_time(row.watermark_us)
            self._reach(row.watermark_us)

    def _play(self, batch: Batch) -> None:
        if batch.watermark_us <= self._settled_us:
            return  # a heartbeat while the market stands
        if self._target_us is None:
            self._begin_advance()
        super()._play(batch)
        self._reach(batch.watermark_us)

    def _tend(self) -> None:
        """Nothing happens between batches."""

    def _resync(self) -> None:
        """News of orders was lost: the next advance finds them all anyway."""

    def _begin_advance(self) -> None:
        """Take in what waits, before the first tick."""
        row = MarketClock.objects.get(pk=1)
        self._target_us = row.advance_to_us
        self._refresh_listing()
        self.agreement.load()
        self._match_again()
        self._admit_accepted()
        self._commit()

    def _commit(self) -> None:
        self.drain()
        while self._rematch:
            self._match_again()
            self.drain()

    def _reach(self, watermark_us: int) -> None:
        """Commit what the batch brought; at the barrier, say so."""
        at_barrier = self._target_us is not None and watermark_us >= self._target_us
        if at_barrier:
            self._note_trailing()
        self._commit()
        if at_barrier:
            write_reasons(self.floor.book, self.floor.why)
            margin_calls.look(between=self.pending.lease.renew_if_due)
            self._settled_us, self._target_us = watermark_us, None
            MarketClock.objects.filter(pk=1, settled_us__lt=watermark_us).update(
                settled_us=watermark_us
            )
