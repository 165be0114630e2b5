"""The engine: hears orders and ticks, decides in memory, and has its decisions settled.

It drives a floor (`floor.py`): the resting orders of its shard beside the standing quotes, matched
one tick after the other, so that the result does not depend on how ticks were batched. The database
is the truth: the floor can be thrown away and loaded again at any moment, accepted orders are found
by their status, and a fill is only true once settlement has committed it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from django.db import OperationalError
from prometheus_client import Gauge

from events.leases import Lease
from events.transactions import was_broken_off
from quotes.clock import WALL_MODES, market_clock
from quotes.corporate_actions import NEWS as ACTION_NEWS
from quotes.streaming.bus import CONTROL, ORDERS
from quotes.ticks import Batch, Quote, Trade, to_instant
from trading import states
from trading.execution import intake
from trading.execution.actions import Actions, latest_ticks
from trading.execution.admission import Admissions
from trading.execution.agreement import Agreement
from trading.execution.decisions import Execution
from trading.execution.floor import Floor
from trading.execution.marks import FloorMarks
from trading.execution.matching import FillModel
from trading.execution.pending import Pending
from trading.execution.shards import WHOLE, Shard
from trading.execution.taken import Taken
from trading.execution.tape_order import stretches
from trading.execution.waiting import write_reasons
from trading.models import OrderStatus
from trading.orders import expire_due

TURN = 200  # decisions that are settled before news is heard again: some 50 ms
POLL_SECONDS = 1.0  # the safety net under the bus, and how often reasons are written
REFRESH_SECONDS = 5.0  # instruments: halts are also announced
LOCKED_PAUSE_SECONDS = 0.005
ANNOUNCED_MAX = 5_000  # accepted orders that news told of; beyond that all are asked for

BOOK_ORDERS = Gauge("openbell_book_orders", "Orders that rest in an engine's book.", ["lease"])


class Engine:
    """The execution of one shard. One thread calls its methods, and may touch the database."""

    acts_by_wall = True  # polls, sweeps and time-outs run on wall time

    def __init__(
        self,
        lease: Lease,
        model: FillModel = FillModel.NBBO,
        lanes: int = 1,
        shard: Shard = WHOLE,
    ) -> None:
        self.clock = market_clock()
        calendar = self.clock.calendar
        self.listing = intake.Listing(shard)
        self.pending = Pending(lease, self.listing.by_id, calendar, lanes)
        self.floor = Floor(self.listing, calendar, self.clock.now_us(), self.pending.add, model)
        self.pending.marks = FloorMarks(self.floor, self.listing)
        self.admissions = Admissions(
            self.floor, self.listing, calendar, self.pending.add, by_wall=self.acts_by_wall
        )
        self.agreement = Agreement(self.floor, self.listing, self.pending, self.admissions)
        self.actions = Actions(self.floor, self.listing, self.agreement, self.clock)
        self._epoch = 0
        self._taken = Taken(self.floor.standing, lease)
        self._rematch: set[str] = set()  # symbols whose standing quote is good for more
        self._announced: set[int] = set()  # accepted orders that news told of
        self._poll_due = True
        self._polled_at = self._refreshed_at = 0.0

    def load(self) -> None:
        """Fill the book from the database. Ticks that passed meanwhile fill nothing."""
        self.pending.lanes.take_over()
        self._refresh_listing()
        self.agreement.load()
        self._expire(self.floor.now_us)
        self._taken.look(self.listing.by_id)
        self._pass_time(self.floor.now_us)

    def run_once(self, messages: Iterable[tuple[str, Any]], missed: bool = False) -> None:
        """Take in what the bus brought and settle what follows from it.

        `missed`: messages were lost on the way. Raises LeaseLost, and what the database raises
        when it is away; decisions that are not settled then keep waiting.

        Asks for its lease first: an engine that was stopped finds out before it writes anything.
        """
        self.pending.lease.renew_if_due()
        if missed:
            self._resync()
        for topic, message in messages:
            self.pending.lease.renew_if_due()
            if topic == ORDERS:
                self._hear_order(message)
            elif topic == CONTROL:
                self._hear_control(message)
            else:
                self._play(message)
        self._tend()
        BOOK_ORDERS.labels(self.pending.lease.name).set(len(self.floor.book))

    def drain(self) -> None:
        """Settle everything that waits, also for accounts that others have locked just now."""
        while len(self.pending):
            self._settle()
            if len(self.pending):
                time.sleep(LOCKED_PAUSE_SECONDS)

    def close(self) -> None:
        """End the threads that settle; what waits stays unsettled."""
        self.pending.lanes.close()
        BOOK_ORDERS.labels(self.pending.lease.name).set(0)

    def _breathe(self) -> None:
        """In the middle of much work: stay the owner, and let no more wait than may."""
        self.pending.lease.renew_if_due()
        if self.pending.is_full:
            self.drain()

    # --- what the bus brings --------------------------------------------------------------------

    def _hear_order(self, news: dict[str, Any]) -> None:
        if not self.listing.may_have(news["instrument_id"]):
            return
        if news["status"] == OrderStatus.ACCEPTED:
            if len(self._announced) < ANNOUNCED_MAX:
                self._announced.add(news["order_id"])
            else:
                self._poll_due = True
        elif news["status"] in states.TERMINAL:
            self.agreement.forget(news["order_id"])
        elif news["status"] == OrderStatus.HELD:
            self.agreement.introduce(news["order_id"])

    def _hear_control(self, news: dict[str, Any]) -> None:
        if news.get("kind") in ("halt", "resume", ACTION_NEWS):
            self._refresh_listing()

    def _play(self, batch: Batch) -> None:
        """Match a batch's ticks, one at a time."""
        if batch.epoch < self._epoch:
            return  # of a feed that has lost its lease
        self._epoch = batch.epoch
        self.clock.observe(batch.watermark_us)
        self._note_silence(False)
        for ticks, amendments in stretches(batch):
            self._hear_ticks(ticks)
            self.floor.standing.amend(amendments)
        self._pass_time(batch.watermark_us)

    def _hear_ticks(self, ticks: Iterable[Quote | Trade]) -> None:
        for tick in ticks:
            if tick.at_us >= self.floor.next_us:
                self._pass_time(tick.at_us)
            if isinstance(tick, Quote):
                self._hear_quote(tick)
            else:
                self._hear_trade(tick)
            if self.pending.is_full:
                self.drain()

    def _hear_quote(self, quote: Quote) -> None:
        if not self.floor.standing.is_newer(quote):
            return  # after a resync, what still waited in the mailbox is the past
        self._taken.come_to(quote)
        self.floor.hear(quote)
        self.admissions.admit_priced(quote.symbol)
        self.floor.match_resting(quote.symbol, quote)

    def _hear_trade(self, trade: Trade) -> None:
        if self.floor.standing.is_restated(trade) or not self.floor.standing.is_newer_trade(trade):
            return
        if trade.auction and trade.symbol in self.listing.by_symbol:
            self.admissions.cross(trade)
        self.floor.hear_trade(trade)

    # --- what is due besides ticks --------------------------------------------------------------

    def _tend(self) -> None:
        """Time, size that came back, new orders, settlement, and now and then the safety net."""
        if self.clock.mode in WALL_MODES:
            self._pass_time(self.clock.now_us())
        self._note_silence(self.clock.feed_is_silent())
        self._match_again()
        overdue = time.monotonic() - self._polled_at >= POLL_SECONDS
        if self._poll_due or overdue:
            self._admit_accepted()
        elif self._announced:
            self._admit_announced()
        if overdue:
            self._note_trailing()
        if len(self.pending):
            self._settle(TURN)
        if overdue:
            write_reasons(self.floor.book, self.floor.why)
            if time.monotonic() - self._refreshed_at >= REFRESH_SECONDS:
                self._refresh_listing()

    def _note_trailing(self) -> None:
        """Have it written where trailing stops stand: for their owners, and for a next engine.

        Between two notes a stop stands in memory only. An engine that takes over starts from the
        last one: a stop that is at most a second behind, and never nearer to the market than the
        one that the market had moved.
        """
        for following in self.floor.take_moved():
            self.pending.add(following)

    def _note_silence(self, is_silent: bool) -> None:
        """When a silent feed speaks again, the quotes that stand are good again."""
        was_silent, self.floor.is_stale = self.floor.is_stale, is_silent
        if was_silent and not is_silent:
            self._rematch.update(self.floor.book.symbols())

    def _match_again(self) -> None:
        """Match standing quotes where something changed that is not a quote, before anybody new."""
        symbols, self._rematch = sorted(self._rematch), set()
        for symbol in symbols:
            self.floor.match_standing(symbol)

    def _admit_accepted(self) -> None:
        self._announced.clear()
        self.admissions.admit_accepted(self.pending.orders(), self._breathe)
        self._poll_due = False
        self._polled_at = time.monotonic()

    def _admit_announced(self) -> None:
        """Look at the orders that news told of, and at no others: the poll finds those."""
        announced, self._announced = self._announced, set()
        self.admissions.admit_announced(announced, self.pending.orders(), self._breathe)

    def _pass_time(self, to_us: int) -> None:
        """Carry out all that is due up to that instant, in order."""
        floor = self.floor
        while floor.next_us <= to_us:
            moment_us = floor.next_us
            self.drain()
            self._expire(moment_us)
            if moment_us >= floor.action_us:
                self._carry_out_actions(moment_us)
            if moment_us >= floor.hours.ends_us:
                floor.hours.enter(moment_us)
                floor.now_us = max(floor.now_us, moment_us)
                self.admissions.reopen()
                self._admit_accepted()
        floor.now_us = max(floor.now_us, to_us)

    def _expire(self, moment_us: int) -> None:
        renew = self.pending.lease.renew_if_due
        for order in expire_due(to_instant(moment_us), self.listing.by_id, between=renew):
            self.agreement.forget(order.pk)
        self.floor.book.remove_expired(moment_us)

    def _carry_out_actions(self, moment_us: int) -> None:
        self.actions.carry_out(moment_us, self.pending.lease.renew_if_due)
        self._refresh_listing()

    # --- settling, and agreeing with the database -----------------------------------------------

    def _settle(self, turn: int | None = None) -> None:
        """Settle once what waits, or a turn of it; take back what was dropped."""
        try:
            self.pending.settle(turn)
        except OperationalError as error:
            if not was_broken_off(error):
                raise  # else a deadlock, or a lock that did not come: what waits is tried again
        finally:
            for decision in self.pending.take_dropped():
                if isinstance(decision, Execution):
                    self.floor.take_back(decision)
                    self._rematch.add(decision.order.symbol)
                self.agreement.doubt(decision)
            for leg in self.pending.take_woken():
                self.agreement.meet(leg)
            self.agreement.settle_doubts()

    def _refresh_listing(self) -> None:
        self._rematch |= self.listing.refresh()
        self.actions.refresh()
        self._refreshed_at = time.monotonic()

    def _resync(self) -> None:
        """Messages were lost: take orders from the database and quotes from the latest.

        A played market's feed waits until its batches are heard, so there only news of orders can
        be lost, and the latest quotes would be the future.
        """
        self._poll_due = True
        self._refresh_listing()
        self.agreement.load()
        if self.clock.mode in WALL_MODES:
            quotes, trades = latest_ticks(self.listing)
            for quote in quotes:
                self._hear_quote(quote)
            for trade in trades:
                self._hear_trade(trade)
