"""Lanes: what waits is settled in two transactions at once, each with accounts of its own.

While the database works on one lane's statements, Python prepares the other's; no lane waits for
the other between its batches. Every lane but the first, which is the caller's thread, has a thread,
a connection and a lease of its own: whoever takes the shard over takes those leases too, so a lane
of a former owner, even one that was stopped in the middle, commits nothing. SQLite has one writer,
and one lane.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait

from django.db import InterfaceError, OperationalError, connection, connections

from events.leases import RENEW_SECONDS, Lease, LeaseLost, seize
from events.transactions import was_broken_off
from trading.execution.decisions import Decision
from trading.execution.settlement import Outcome

WORTH_A_LANE = 20  # decisions; fewer are settled sooner in one transaction

Batch = list[Decision]
Settle = Callable[[Batch, Lease], Outcome]
# What became of a batch; None where it was not tried, because of what became of those before it.
Settled = tuple[Batch, Outcome | Exception | None]

NO_DATABASE = (LeaseLost, OperationalError, InterfaceError)  # no batch is at fault


class Lanes:
    """The lanes of a shard's owner. One thread calls its methods."""

    def __init__(self, lease: Lease, count: int) -> None:
        self._lease = lease
        self._others = [_Lane(f"{lease.name}/{number}") for number in range(1, count)]

    def take_over(self) -> None:
        """Make sure that no lane of a former owner writes from now on. Raises LeaseLost, and what
        the database raises when it is away."""
        for lane in self._others:
            lane.take_over(self._lease)

    def parts(self, waiting: Batch) -> list[Batch]:
        """What waits by lane, for as many as it is worth; an account's decisions stay together and
        in order."""
        count = min(len(self._others) + 1, len(waiting) // WORTH_A_LANE)
        if count < 2:
            return [waiting]
        parts: list[Batch] = [[] for _ in range(count)]
        for one in waiting:
            parts[one.account_id % count].append(one)
        return [part for part in parts if part]

    def settle(self, batches: Sequence[Sequence[Batch]], settle: Settle) -> list[Settled]:
        """Settle the batches of each part, one after the other; each succeeds or fails alone."""
        own, *others = batches
        begun = [lane.begin(each, settle) for lane, each in zip(self._others, others, strict=False)]
        settled = attempt_all(settle, own, self._lease)
        settled += self._stay_owner_until_done(begun)
        return settled + [one for each in begun for one in each.result()]

    def close(self) -> None:
        for lane in self._others:
            lane.close()

    def _stay_owner_until_done(self, begun: list[Future[list[Settled]]]) -> list[Settled]:
        """Wait for the other lanes, however long they have to do; an error is as if of a batch."""
        failed: list[Settled] = []
        while wait(begun, timeout=RENEW_SECONDS).not_done:
            try:
                self._lease.renew_if_due()
            except NO_DATABASE as error:
                failed = [([], error)]
        return failed


class _Lane:
    """A thread that settles under a lease of its own."""

    def __init__(self, name: str) -> None:
        self._thread = ThreadPoolExecutor(1, "lane")
        self._name = name
        self._lease: Lease | None = None

    def take_over(self, of_shard: Lease) -> None:
        self._lease = self._thread.submit(seize, self._name, of_shard).result()

    def begin(self, batches: Sequence[Batch], settle: Settle) -> Future[list[Settled]]:
        return self._thread.submit(self._settle, batches, settle)

    def close(self) -> None:
        self._thread.submit(connections.close_all).result()
        self._thread.shutdown()

    def _settle(self, batches: Sequence[Batch], settle: Settle) -> list[Settled]:
        assert self._lease is not None, "a lane is taken over before it settles"
        try:
            self._lease.renew_if_due()  # alone: over a new connection nothing may come before it
            settled = attempt_all(settle, batches, self._lease)
        except Exception as error:
            settled = _not_tried(batches, error)
        if any(_is_connection_lost(outcome) for _, outcome in settled):
            connection.close()
        return settled


def attempt_all(settle: Settle, batches: Sequence[Batch], lease: Lease) -> list[Settled]:
    """Settle batches in their order, as far as the database is there.

    Of an account that had to be left, because it was locked or failed, nothing later is tried: its
    decisions stay in their order.
    """
    settled: list[Settled] = []
    left: set[int] = set()
    for number, batch in enumerate(batches, start=1):
        if held := [one for one in batch if one.account_id in left]:
            settled.append((held, None))
        now = [one for one in batch if one.account_id not in left] if held else batch
        if not now:
            continue
        outcome = attempt(settle, now, lease)
        settled.append((now, outcome))
        if isinstance(outcome, NO_DATABASE):
            return settled + _not_tried(batches[number:])
        waits = outcome.busy if isinstance(outcome, Outcome) else now
        left.update(one.account_id for one in waits)
    return settled


def attempt(settle: Settle, batch: Batch, lease: Lease) -> Outcome | Exception:
    """What settling makes of the batch, or raises."""
    try:
        return settle(batch, lease)
    except Exception as error:
        return error


def _not_tried(batches: Sequence[Batch], why: Exception | None = None) -> list[Settled]:
    return [(batch, why) for batch in batches]


def _is_connection_lost(outcome: Outcome | Exception | None) -> bool:
    if not isinstance(outcome, OperationalError | InterfaceError):
        return False
    return not was_broken_off(outcome)
