"""What the engine reads from the database: accepted orders, resting orders, instruments.

The truth is there; what the bus says only makes it faster.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from events.reads import find_rows
from quotes.models import Instrument
from trading import states
from trading.execution.shards import WHOLE, Shard
from trading.models import Order, OrderStatus

ADMITTED_MAX = 500  # accepted orders taken in at a time
CHUNK = 500


class Listing:
    """The shard's instruments, by id and by symbol, and the symbols of all that there are by id;
    kept in place, so that it can be shared."""

    def __init__(self, shard: Shard = WHOLE) -> None:
        self.shard = shard
        self.by_id: dict[int, Instrument] = {}
        self.by_symbol: dict[str, Instrument] = {}
        self.symbols: dict[int, str] = {}

    def refresh(self) -> set[str]:
        """Read them again: new ones, halts, resumptions. Returns the symbols that were resumed."""
        resumed: set[str] = set()
        for instrument in Instrument.objects.all():
            self.symbols[instrument.pk] = instrument.symbol
            if self.shard.has(instrument.symbol):
                known = self.by_id.get(instrument.pk)
                if known is not None and known.halted and not instrument.halted:
                    resumed.add(instrument.symbol)
                self.by_id[instrument.pk] = instrument
                self.by_symbol[instrument.symbol] = instrument
        return resumed

    def may_have(self, instrument_id: int) -> bool:
        """Whether the instrument is the shard's, or so new that it is not known yet."""
        return instrument_id in self.by_id or instrument_id not in self.symbols

    def is_halted(self, symbol: str) -> bool:
        return self.by_symbol[symbol].halted


def accepted(instrument_ids: Collection[int], known: Collection[int]) -> list[Order]:
    """The oldest accepted orders of these instruments that are not known yet, by row id.

    Asks for the status, never for ids above the last one seen: ids commit out of order.
    """
    rows = Order.objects.filter(instrument_id__in=instrument_ids, status=OrderStatus.ACCEPTED)
    pks = [pk for pk in sorted(rows.values_list("pk", flat=True)) if pk not in known]
    return find_rows(Order, id=set(pks[:ADMITTED_MAX]))


def announced(pks: Collection[int], instrument_ids: Collection[int]) -> Iterator[list[Order]]:
    """Those of these orders that are accepted and of these instruments, by row id, in slices."""
    wanted = sorted(pks)
    for start in range(0, len(wanted), ADMITTED_MAX):
        some = set(wanted[start : start + ADMITTED_MAX])
        rows = find_rows(Order, id=some, status=str(OrderStatus.ACCEPTED))
        yield [row for row in rows if row.instrument_id in instrument_ids]


def resting_ids(instrument_ids: Collection[int]) -> set[int]:
    """The row ids of all admitted orders that are still open."""
    rows = Order.objects.filter(
        instrument_id__in=instrument_ids, status__in=sorted(states.FILLABLE)
    )
    return set(rows.values_list("pk", flat=True))


def orders(pks: Collection[int]) -> Iterator[Order]:
    """The orders by row id, fetched in chunks."""
    wanted = sorted(pks)
    for start in range(0, len(wanted), CHUNK):
        yield from Order.objects.filter(pk__in=wanted[start : start + CHUNK]).order_by("pk")


def relatives(families: Collection[int]) -> Iterator[Order]:
    """The open orders of these brackets, OCOs and OTOs, each named by its parent's row id.

    A parent's exits come as they were submitted: so they go to work.
    """
    wanted = sorted(families)
    is_open = sorted(states.OPEN)
    for start in range(0, len(wanted), CHUNK):
        some = wanted[start : start + CHUNK]
        yield from Order.objects.filter(pk__in=some, status__in=is_open)
        yield from Order.objects.filter(parent_id__in=some, status__in=is_open).order_by("pk")
