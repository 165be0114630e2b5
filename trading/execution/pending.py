"""The decisions that wait for settlement, and what is tried when it does not work at once.

An account that somebody else has locked is left for the next batch; left three times, its
decisions are settled alone and wait for the lock, now and then: the market does not stop for
somebody who holds one account and does not let go. A batch that fails is split by account; an
account that fails alone three times has the order at fault suspended, so that one broken order
never stops a market.
"""

from __future__ import annotations

import logging
import math
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import partial

from prometheus_client import Counter as Count
from prometheus_client import Gauge, Histogram

from events.leases import Lease, LeaseLost
from portfolios.borrowing import NO_MARKS, Marks
from quotes.calendar import Calendar
from quotes.models import Instrument
from trading.execution.decisions import Decision, Ending, Execution
from trading.execution.lanes import NO_DATABASE, Lanes, Settled, attempt
from trading.execution.settlement import Outcome, settle
from trading.models import Order, OrderStatus

BATCH_MAX = 40  # decisions in one transaction: about 10 ms of the one writer on SQLite
ALONE_MAX = 50  # decisions of one account where no others wait: they may come meanwhile
ACCOUNTS_SERVED = 4  # as far as they wait, so that none with much to settle keeps others waiting
BATCH_MAX_IN_LANES = 200  # on servers, whose commit costs more than another row does
PENDING_MAX = 5_000  # beyond this the engine waits for the accounts it needs before it goes on
TRIES_MAX = 3
WAIT_AGAIN_SECONDS = 10.0  # after waiting for a lock in vain

FILLS = Count("openbell_fills_total", "Fills settled.")
DROPPED = Count("openbell_decisions_dropped_total", "Decisions that their orders did not allow.")
SETTLE_SECONDS = Histogram("openbell_settlement_seconds", "One settlement transaction.")
PENDING = Gauge("openbell_decisions_pending", "Decisions that wait for settlement.", ["lease"])

logger = logging.getLogger(__name__)


class Pending:
    """A queue of decisions in the order they were made."""

    def __init__(
        self,
        lease: Lease,
        instruments: Mapping[int, Instrument],
        calendar: Calendar,
        lanes: int = 1,
    ) -> None:
        self.lease = lease
        self.marks: Marks = NO_MARKS
        self.lanes = Lanes(lease, lanes)
        self._batch_max = BATCH_MAX if lanes == 1 else BATCH_MAX_IN_LANES
        self._instruments = instruments
        self._calendar = calendar
        self.is_behind = False
        self._queue: list[Decision] = []
        self._dropped: list[Decision] = []
        self._woken: list[Order] = []
        self._missed: Counter[int] = Counter()  # by account: batches that found it locked
        self._waited: dict[int, float] = {}  # by account: when a lock did not come
        self._failed: Counter[int] = Counter()  # by account: failures alone

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def is_full(self) -> bool:
        return len(self._queue) >= PENDING_MAX

    def add(self, decision: Decision) -> None:
        self._queue.append(decision)

    def orders(self) -> set[int]:
        """The row ids of the orders about which something waits."""
        return {one.order.pk for one in self._queue}

    def settle(self, turn: int | None = None) -> None:
        """Settle each waiting decision once if it can be; `take_dropped` has those that cannot.

        With `turn` at most so many of them: `is_behind` says whether there are more.
        Raises LeaseLost, and OperationalError or InterfaceError where the database is away or
        broke the transaction off; what is not settled keeps waiting.
        """
        waiting, self._queue = self._queue, []
        try:
            missed, waiting = self._missed_too_often(waiting)
            if missed:
                self._settle_alone_and_wait(missed)
                waiting = self._held_back(waiting)
            batches, waiting = self._planned(waiting, turn)
            self._take_in(self.lanes.settle(batches, self._write))
        finally:
            self.is_behind = bool(waiting)
            self._queue += waiting
            PENDING.labels(self.lease.name).set(len(self._queue))

    def take_dropped(self) -> list[Decision]:
        """The decisions that were dropped since the last call."""
        dropped, self._dropped = self._dropped, []
        return dropped

    def take_woken(self) -> list[Order]:
        """The legs that settlement has set to work since the last call, as it left them."""
        woken, self._woken = self._woken, []
        return woken

    def _held_back(self, waiting: list[Decision]) -> list[Decision]:
        """What is left to try now; accounts that had to be left keep their order and wait."""
        left = {one.account_id for one in self._queue}
        self._queue += [one for one in waiting if one.account_id in left]
        return [one for one in waiting if one.account_id not in left]

    def _missed_too_often(self, waiting: list[Decision]) -> tuple[list[Decision], list[Decision]]:
        """What waits of one account that is worth waiting for, as far as one batch takes it; and
        the rest."""
        for one in waiting if self._missed else ():
            if self._is_worth_waiting(one.account_id):
                theirs = [other for other in waiting if other.account_id == one.account_id]
                alone = {id(each) for each in theirs[: self._batch_max]}
                rest = [each for each in waiting if id(each) not in alone]
                return theirs[: self._batch_max], rest
        return [], waiting

    def _planned(
        self, waiting: list[Decision], turn: int | None
    ) -> tuple[list[list[list[Decision]]], list[Decision]]:
        """The batches of each lane, for all that waits or a turn; and what is for later."""
        parts = self.lanes.parts(waiting)
        most, size = math.inf, self._batch_max
        if turn is not None:
            most, size = 1, min(size, max(turn // len(parts), 1))
        planned, later = [], []
        for part in parts:
            batches: list[list[Decision]] = []
            while part and len(batches) < most:
                batch, part = self._mix(part, size)
                batches.append(batch)
            planned.append(batches)
            later += part
        return planned, later

    def _mix(self, waiting: list[Decision], size: int) -> tuple[list[Decision], list[Decision]]:
        """The decisions that waited longest, of none of several accounts more than its part; and
        the rest."""
        most = max(size // ACCOUNTS_SERVED, 1)
        taken: Counter[int] = Counter()
        mix: list[Decision] = []
        passed_over: list[Decision] = []
        for number, one in enumerate(waiting):
            if len(mix) == size:
                return mix, passed_over + waiting[number:]
            taken[one.account_id] += 1
            (mix if taken[one.account_id] <= most else passed_over).append(one)
        if len(taken) > 1:
            return mix, passed_over
        size = min(size, ALONE_MAX)
        return waiting[:size], waiting[size:]

    def _is_worth_waiting(self, account_id: int) -> bool:
        if self._missed[account_id] < TRIES_MAX:
            return False
        waited_at = self._waited.get(account_id)
        return waited_at is None or time.monotonic() - waited_at >= WAIT_AGAIN_SECONDS

    def _settle_alone_and_wait(self, batch: list[Decision]) -> None:
        outcome = attempt(partial(self._write, wait=True), batch, self.lease)
        if isinstance(outcome, NO_DATABASE):
            self._waited[batch[0].account_id] = time.monotonic()
        self._take_in([(batch, outcome)])

    def _take_in(self, settled: list[Settled]) -> None:
        """Count what was settled, try each account of what failed, and keep the rest.

        Raises what kept the database from settling.
        """
        broken = _worst(outcome for _, outcome in settled)
        for batch, outcome in settled:
            if isinstance(outcome, Outcome):
                self._count(outcome)
            elif outcome is None or broken is not None:
                self._queue += batch
            else:
                logger.error(
                    "a batch of %d decisions failed, trying each account",
                    len(batch),
                    exc_info=outcome,
                )
                broken = self._settle_apart(batch)
        if broken is not None:
            raise broken

    def _settle_apart(self, batch: list[Decision]) -> Exception | None:
        """Settle each account of a batch that failed by itself; what ended that, if anything."""
        left = list(dict.fromkeys(one.account_id for one in batch))
        try:
            while left:
                account_id = left.pop(0)
                self._settle_alone([one for one in batch if one.account_id == account_id])
        except Exception as error:
            self._queue += [one for one in batch if one.account_id in left]
            return error
        return None

    def _settle_alone(self, batch: list[Decision]) -> None:
        account_id = batch[0].account_id
        try:
            self._settle_once(batch)
        except NO_DATABASE:
            self._queue += batch
            raise
        except Exception as error:
            logger.exception("settlement of account %s failed alone", account_id)
            self._failed[account_id] += 1
            if self._failed[account_id] < TRIES_MAX:
                self._queue += batch
            else:
                self._suspend(batch, error)
        else:
            del self._failed[account_id]

    def _suspend(self, batch: list[Decision], error: Exception) -> None:
        """Park the order of the first decision; the account's other orders get their own tries."""
        first = batch[0]
        reason = f"settlement failed: {type(error).__name__}"
        parked = Ending(first.order, first.at_us, OrderStatus.SUSPENDED, reason)
        try:
            self._settle_once([parked])
        except Exception:
            self._queue += batch
            raise
        del self._failed[first.account_id]
        self._queue += [one for one in batch if one.order.pk != first.order.pk]
        self._dropped += [one for one in batch if one.order.pk == first.order.pk]

    def _settle_once(self, batch: list[Decision]) -> None:
        """Settle in one transaction, waiting for locks, or raise why not."""
        self._count(self._write(batch, self.lease, wait=True))

    def _write(self, batch: list[Decision], lease: Lease, *, wait: bool = False) -> Outcome:
        if wait:
            lease.renew()  # what is renewed while waiting, nobody else sees yet
        with SETTLE_SECONDS.time():
            return settle(
                batch,
                lease=lease,
                instruments=self._instruments,
                calendar=self._calendar,
                marks=self.marks,
                wait=wait,
            )

    def _count(self, outcome: Outcome) -> None:
        """Take in what was settled, and keep what was not."""
        self._queue += outcome.busy
        self._dropped += outcome.dropped
        self._woken += outcome.woken
        for one in outcome.settled + outcome.dropped:
            self._missed.pop(one.account_id, None)
            self._waited.pop(one.account_id, None)
        for account_id in {one.account_id for one in outcome.busy}:
            self._missed[account_id] += 1
        FILLS.inc(sum(isinstance(one, Execution) for one in outcome.settled))
        DROPPED.inc(len(outcome.dropped))


def _worst(outcomes: Iterable[Outcome | Exception | None]) -> Exception | None:
    """What no batch is at fault for; first of all a lost lease."""
    broken = [each for each in outcomes if isinstance(each, NO_DATABASE)]
    lost = (each for each in broken if isinstance(each, LeaseLost))
    return next(lost, broken[0] if broken else None)
