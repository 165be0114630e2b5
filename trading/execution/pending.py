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
from collections.abc import Mapping, Sequence
from functools import partial

from django.db import InterfaceError, OperationalError
from prometheus_client import Counter as Count
from prometheus_client import Gauge, Histogram

from events.leases import Lease, LeaseLost
from portfolios.borrowing import NO_MARKS, Marks
from quotes.calendar import Calendar
from quotes.models import Instrument
from trading.execution.decisions import Decision, Ending, Execution
from trading.execution.lanes import Lanes, Settled, attempt
from trading.execution.settlement import Outcome, settle
from trading.models import Order, OrderStatus

BATCH_MAX = 40  # decisions in one transaction: about 10 ms of the one writer on SQLite
ACCOUNTS_SERVED = 4  # as far as they wait, so that none with much to settle keeps others waiting
BATCH_MAX_IN_LANES = 400  # in all of them together: what a transaction costs by itself is shared
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

        With `turn` about so many of them: `is_behind` says whether there are more.
        Raises LeaseLost, and OperationalError or InterfaceError where the database is away or
        broke the transaction off; what is not settled keeps waiting.
        """
        waiting, self._queue = self._queue, []
        batches = math.inf if turn is None else max(turn // self._batch_max, 1)
        try:
            while waiting and batches > 0:
                batches -= 1
                batch, wait = self._next(waiting)
                tried = {id(one) for one in batch}
                waiting = [one for one in waiting if id(one) not in tried]
                self._settle_batch(batch, wait)
                waiting = self._held_back(waiting)
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

    def _next(self, waiting: Sequence[Decision]) -> tuple[list[Decision], bool]:
        """The next batch: one account alone where it was missed too often, else a mix."""
        for one in waiting:
            if self._is_worth_waiting(one.account_id):
                alone = [other for other in waiting if other.account_id == one.account_id]
                return alone[: self._batch_max], True
        return self._mix(waiting), False

    def _mix(self, waiting: Sequence[Decision]) -> list[Decision]:
        """The decisions that waited longest, of none of several accounts more than its part."""
        most = self._batch_max // ACCOUNTS_SERVED
        taken: Counter[int] = Counter()
        mix: list[Decision] = []
        for one in waiting:
            taken[one.account_id] += 1
            if taken[one.account_id] <= most:
                mix.append(one)
                if len(mix) == self._batch_max:
                    return mix
        return mix if len(taken) > 1 else list(waiting[: self._batch_max])

    def _is_worth_waiting(self, account_id: int) -> bool:
        if self._missed[account_id] < TRIES_MAX:
            return False
        waited_at = self._waited.get(account_id)
        return waited_at is None or time.monotonic() - waited_at >= WAIT_AGAIN_SECONDS

    def _settle_batch(self, batch: list[Decision], wait: bool) -> None:
        broken: Exception | None = None
        failed: list[list[Decision]] = []
        for part, outcome in self._attempt(batch, wait):
            if isinstance(outcome, Outcome):
                self._count(outcome)
            elif isinstance(outcome, LeaseLost | OperationalError | InterfaceError):
                self._queue += part
                broken = outcome if not isinstance(broken, LeaseLost) else broken
            else:
                failed.append(part)
                logger.error(
                    "a batch of %d decisions failed, trying each account",
                    len(part),
                    exc_info=outcome,
                )
        if broken is not None:
            self._queue += [one for part in failed for one in part]
            if wait:
                self._waited[batch[0].account_id] = time.monotonic()
            raise broken
        for part in failed:
            self._settle_apart(part)

    def _settle_apart(self, batch: list[Decision]) -> None:
        """Settle each account of a batch that failed by itself."""
        left = list(dict.fromkeys(one.account_id for one in batch))
        try:
            while left:
                account_id = left.pop(0)
                self._settle_alone([one for one in batch if one.account_id == account_id])
        finally:
            self._queue += [one for one in batch if one.account_id in left]

    def _settle_alone(self, batch: list[Decision]) -> None:
        account_id = batch[0].account_id
        try:
            self._settle_once(batch, wait=True)
        except (LeaseLost, OperationalError, InterfaceError):
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
            self._settle_once([parked], wait=True)
        except Exception:
            self._queue += batch
            raise
        del self._failed[first.account_id]
        self._queue += [one for one in batch if one.order.pk != first.order.pk]
        self._dropped += [one for one in batch if one.order.pk == first.order.pk]

    def _settle_once(self, batch: list[Decision], wait: bool) -> None:
        """Settle in one transaction, or raise why not."""
        ((_, outcome),) = self._attempt(batch, wait)
        if not isinstance(outcome, Outcome):
            raise outcome
        self._count(outcome)

    def _attempt(self, batch: list[Decision], wait: bool) -> list[Settled]:
        """Try a batch: in lanes, or, where it is to wait for an account, in one transaction."""
        begun = time.monotonic()
        if wait:
            tried = [(batch, attempt(partial(self._write, wait=True), batch, self.lease))]
        else:
            tried = self.lanes.settle(batch, self._write)
        SETTLE_SECONDS.observe(time.monotonic() - begun)
        return tried

    def _write(self, batch: list[Decision], lease: Lease, *, wait: bool = False) -> Outcome:
        if wait:
            lease.renew()  # what is renewed while waiting, nobody else sees yet
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
