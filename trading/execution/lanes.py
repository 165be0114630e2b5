"""Lanes: a batch is settled in two transactions at once, each with accounts of its own.

While the database works on one lane's statements, Python prepares the other's. Every lane but the
first, which is the caller's thread, has a thread, a connection and a lease of its own: whoever
takes the shard over takes those leases too, so a lane of a former owner, even one that was stopped
in the middle, commits nothing. SQLite has one writer, and one lane.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from django.db import InterfaceError, OperationalError, connection, connections

from events.leases import Lease, seize
from events.transactions import was_broken_off
from trading.execution.decisions import Decision
from trading.execution.settlement import Outcome

WORTH_A_LANE = 20  # decisions; fewer are settled sooner in one transaction

Batch = list[Decision]
Settle = Callable[[Batch, Lease], Outcome]
Settled = tuple[Batch, Outcome | Exception]  # what became of one lane's part of a batch


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

    def settle(self, batch: Batch, settle: Settle) -> list[Settled]:
        """Settle a batch, in as many lanes as it is worth; each part succeeds or fails alone."""
        own, *others = self._parts(batch)
        begun = [lane.begin(part, settle) for lane, part in zip(self._others, others, strict=False)]
        return [(own, attempt(settle, own, self._lease)), *(each.result() for each in begun)]

    def close(self) -> None:
        for lane in self._others:
            lane.close()

    def _parts(self, batch: Batch) -> list[Batch]:
        """The batch by lane; the decisions of an account stay together and in order."""
        count = min(len(self._others) + 1, len(batch) // WORTH_A_LANE)
        if count < 2:
            return [batch]
        parts: list[Batch] = [[] for _ in range(count)]
        for one in batch:
            parts[one.account_id % count].append(one)
        return [part for part in parts if part]


class _Lane:
    """A thread that settles under a lease of its own."""

    def __init__(self, name: str) -> None:
        self._thread = ThreadPoolExecutor(1, "lane")
        self._name = name
        self._lease: Lease | None = None

    def take_over(self, of_shard: Lease) -> None:
        self._lease = self._thread.submit(seize, self._name, of_shard).result()

    def begin(self, batch: Batch, settle: Settle) -> Future[Settled]:
        return self._thread.submit(self._settle, batch, settle)

    def close(self) -> None:
        self._thread.submit(connections.close_all).result()
        self._thread.shutdown()

    def _settle(self, batch: Batch, settle: Settle) -> Settled:
        assert self._lease is not None, "a lane is taken over before it settles"
        try:
            self._lease.renew_if_due()  # alone: over a new connection nothing may come before it
            return batch, settle(batch, self._lease)
        except Exception as error:
            if isinstance(error, OperationalError | InterfaceError) and not was_broken_off(error):
                connection.close()
            return batch, error


def attempt(settle: Settle, batch: Batch, lease: Lease) -> Outcome | Exception:
    """What settling makes of the batch, or raises."""
    try:
        return settle(batch, lease)
    except Exception as error:
        return error
