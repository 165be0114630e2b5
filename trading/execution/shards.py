"""Shards: instruments are divided among engines, so that a second execution process adds to it.

Which shard an instrument belongs to follows from its symbol and their number, EXECUTION_SHARDS, so
all execution processes have to agree on that. The number is part of a lease's name where it is not
one: engines that divide the market in another way cannot own anything beside each other.
"""

from __future__ import annotations

from typing import NamedTuple
from zlib import crc32

from django.conf import settings

from events import leases
from events.leases import Lease
from quotes.clock import market_clock
from quotes.models import MarketClock

PREFIX = "execution:"


class CannotShare(Exception):
    """The market cannot be executed in these shards now; the message is for the operator."""


class Shard(NamedTuple):
    """One of `of` parts of the market, counted from 0."""

    number: int
    of: int

    @property
    def lease_name(self) -> str:
        name = f"{PREFIX}{self.number}"
        return name if self.of == 1 else f"{name}of{self.of}"

    def has(self, symbol: str) -> bool:
        """Whether this shard executes the orders of that instrument."""
        return crc32(symbol.encode()) % self.of == self.number


WHOLE = Shard(0, 1)


def all_shards() -> list[Shard]:
    """Those that settings ask for."""
    of = settings.EXECUTION_SHARDS
    return [Shard(number, of) for number in range(of)]


def refuse_other_numbers(of: int) -> None:
    """Raises CannotShare while somebody executes the market in another number of shards."""
    for name in _of_other_numbers(of):
        if not _is_lane(name) and leases.owner_of(name) is not None:
            raise _other_number(name, of)


def make_sure(shard: Shard, lease: Lease) -> None:
    """Make sure that nobody executes the market in another number of shards, now or later: not
    even a process that only stands still. Asked by the owner of a shard, before its first order.

    Raises CannotShare, and LeaseLost where the shard is another's by now.
    """
    _refuse_stepped(shard.of)
    others = _of_other_numbers(shard.of)
    for name in others:
        if not _is_lane(name) and not leases.retire(name):
            raise _other_number(name, shard.of)
    for name in filter(_is_lane, others):  # nobody can take one of them back any more
        leases.retire(name, whenever=True)
    lease.renew()


def _of_other_numbers(of: int) -> list[str]:
    """The leases of all other numbers of shards, those of their lanes included."""
    ours = {Shard(number, of).lease_name for number in range(of)}
    return sorted(name for name in leases.named(PREFIX) if name.partition("/")[0] not in ours)


def _is_lane(name: str) -> bool:
    return "/" in name


def _other_number(name: str, of: int) -> CannotShare:
    return CannotShare(
        f"{name} is owned by a process that was started with another EXECUTION_SHARDS than {of}."
        " All execution processes need the same: stop those that have the old one first."
    )


def _refuse_stepped(of: int) -> None:
    """The same orders get the same fills in a stepped market: so there is one order of events."""
    if of > 1 and market_clock().mode == MarketClock.Mode.STEPPED:
        raise CannotShare(
            f"A stepped market is executed in one shard, and EXECUTION_SHARDS is {of}."
            " Set EXECUTION_SHARDS=1."
        )
