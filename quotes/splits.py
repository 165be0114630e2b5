"""What splits do to prices from before them: what is kept stays as it was traded, and is adjusted
where it is read.

A price from before a split of `new` for `old` counts `old ÷ new` of itself after it, rounded
half-even to the price's four decimals. A split is in force once it is done and until it is taken
back; while either is booked, account by account, the caller says for which it is. Where the market
has split and the books have not, it is the prices from after it that count `new ÷ old`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date, datetime
from operator import attrgetter
from typing import NamedTuple

from django.db.models import Q

from events.reads import Wanted
from quotes.latest import Latest
from quotes.models import CorporateAction
from quotes.ticks import MICROSECONDS, Bar, to_micros

# Instruments that one query names; for more it reads the splits of all, which are few.
NAMED_MAX = 500
IN_FORCE = (CorporateAction.Status.DONE, CorporateAction.Status.TO_REVERSE)
DONE = Q(status__in=IN_FORCE)
UNDER_WAY = Q(status__in=[CorporateAction.Status.UNDER_WAY, CorporateAction.Status.REVERSING])
BEGUN = DONE | UNDER_WAY


class Split(NamedTuple):
    """`new` shares of every `old`, from market instant `at_us` on, where trade date `on` begins."""

    instrument_id: int
    symbol: str
    at_us: int
    on: date
    new: int
    old: int
    is_ahead: bool = False  # of the books, which are still as before it

    def changes(self, at_us: int) -> bool:
        """Whether a price of that instant is one of the other side."""
        return (at_us < self.at_us) is not self.is_ahead

    def price(self, units: int) -> int:
        """What such a price counts; scaled integers."""
        return _ratio(units, *((self.new, self.old) if self.is_ahead else (self.old, self.new)))

    def bar(self, bar: Bar) -> Bar:
        """What a bar is after it: its prices, and its volume in the shares of today."""
        if not self.changes(bar.start * MICROSECONDS):
            return bar
        return bar._replace(
            open=self.price(bar.open),
            high=self.price(bar.high),
            low=self.price(bar.low),
            close=self.price(bar.close),
            volume=_ratio(bar.volume, self.new, self.old),
            vwap=self.price(bar.vwap),
        )


def _ratio(units: int, factor: int, divisor: int) -> int:
    """units × factor ÷ divisor, rounded half-even."""
    whole, rest = divmod(units * factor, divisor)
    return whole + (2 * rest > divisor or (2 * rest == divisor and whole % 2 == 1))


def splits_of(instrument_ids: Collection[int], in_force: Q = DONE) -> list[Split]:
    """The splits of these instruments that are in force, in their order."""
    chosen = in_force
    if len(instrument_ids) <= NAMED_MAX:
        chosen &= Q(instrument_id__in=instrument_ids)
    return [split for split in _read(chosen) if split.instrument_id in instrument_ids]


def announced() -> list[Split]:
    """All splits from their announcement on, in their order: by these a market goes that makes its
    prices itself."""
    return _read(~Q(status=CorporateAction.Status.CANCELED))


def _read(chosen: Q) -> list[Split]:
    rows = CorporateAction.objects.filter(chosen, kind=CorporateAction.Kind.SPLIT)
    columns = ("instrument_id", "instrument__symbol", "due_at", "ex_on", "new_shares", "old_shares")
    return [
        Split(pk, symbol, to_micros(at), on, new, old)
        for pk, symbol, at, on, new, old in rows.order_by("due_at", "pk").values_list(*columns)
    ]


def wanted_splits(instrument_id: int) -> Wanted[CorporateAction]:
    """The rows behind `splits_of` for one instrument, for a trip that brings something else too."""
    return Wanted(
        CorporateAction,
        instrument_id=instrument_id,
        kind=CorporateAction.Kind.SPLIT,
        status=set(IN_FORCE),
    )


def splits_in(rows: Iterable[CorporateAction], symbol: str) -> list[Split]:
    """Those rows of the symbol's instrument as `splits_of` gives them."""
    found = []
    for row in sorted(rows, key=attrgetter("due_at", "pk")):
        new, old = row.new_shares, row.old_shares
        assert new is not None and old is not None, "a split has its shares"  # noqa: PT018
        at_us = to_micros(row.due_at)
        found.append(Split(row.instrument_id, symbol, at_us, row.ex_on, new, old))
    return found


def counted(now: datetime) -> tuple[int, int]:
    """How many splits are being booked or due, and how many are done: unequal before and after
    something means that prices and quantities read meanwhile may not go together."""
    late = Q(status=CorporateAction.Status.ANNOUNCED, due_at__lte=now)
    rows = CorporateAction.objects.filter(BEGUN | late, kind=CorporateAction.Kind.SPLIT)
    done = rows.filter(DONE).count()
    return rows.count() - done, done


def adjusted(newest: Mapping[str, Latest], splits: Iterable[Split]) -> dict[str, Latest]:
    """The latest ticks by symbol, those from before a split with the prices they have after it; and
    the other way round where it is ahead."""
    found = dict(newest)
    for split in splits:
        known = found.get(split.symbol)
        if known is None:
            continue
        quote, trade = known.quote, known.trade
        if quote is not None and split.changes(quote.at_us):
            quote = quote._replace(bid=split.price(quote.bid), ask=split.price(quote.ask))
        if trade is not None and split.changes(trade.at_us):
            trade = trade._replace(price=split.price(trade.price))
        found[split.symbol] = Latest(quote=quote, trade=trade)
    return found


def adjusted_close(start: int, close: int, splits: Sequence[Split], instrument_id: int) -> int:
    """A daily close, of the bar that starts there, as it counts after these splits."""
    for split in splits:
        if split.instrument_id == instrument_id and split.changes(start * MICROSECONDS):
            close = split.price(close)
    return close
