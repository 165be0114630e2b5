"""What earlier engines have taken of the displayed size, for the one that takes over.

The fills tell it, each with the quote that it used. What was quoted since then the tick history
tells, when the symbol's first quote is heard: where the price went away and came back, all that
stands there is fresh. Only quotes that this engine has not heard itself count, and every one that
the history has; one that is missing there (it is written a quarter of a second later, and may be
switched off) makes too much count as taken, never too little: a level only loses by a quote.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

from events.leases import Lease
from quotes.amounts import PRICE_PLACES, QUANTITY_PLACES, to_units
from quotes.models import Instrument
from quotes.tick_history import store
from quotes.ticks import Quote, to_micros
from trading.execution.decisions import AUCTION
from trading.execution.matching import FillModel, Level, roll, touch
from trading.execution.standing import Standing, Touch
from trading.models import Fill, Side

FILLS_LOOKED_AT = 1_000  # the newest ones: what was taken longer ago has been quoted anew
PAGE = 500  # quotes read at a time
PAGES_MAX = 10  # of one level: a price that stood longer goes on as it was then


class _Taken(NamedTuple):
    """A level after a fill, and the quote that the fill used: its epoch and number, its time."""

    place: tuple[int, int]
    level: Level
    at_us: int


class Taken:
    """The levels of symbols that this engine has not heard a quote of, until it does."""

    def __init__(self, standing: Standing, lease: Lease) -> None:
        self._standing = standing
        self._lease = lease  # of the shard: reading may take a while
        self._found: dict[Touch, _Taken] = {}

    def look(self, instruments: Mapping[int, Instrument]) -> None:
        """Find out from the newest fills of these instruments, by id."""
        self._found.clear()
        for fill in _newest_fills(instruments.keys()):
            key = (instruments[fill.instrument_id].symbol, fill.side == Side.BUY)
            found = _after(fill)
            # Not the newest row: accounts settle in an order of their own.
            if key not in self._found or found[:2] > self._found[key][:2]:
                self._found[key] = found

    def come_to(self, quote: Quote) -> None:
        """Let stand what was taken before this quote, which is about to be heard."""
        for is_buy in (True, False) if self._found else ():
            touch_of = (quote.symbol, is_buy)
            if touch_of in self._found:
                self._lease.renew_if_due()
                self._standing.put(*touch_of, _rolled(self._found[touch_of], is_buy, quote))
                del self._found[touch_of]


def _newest_fills(instrument_ids: Collection[int]) -> list[Fill]:
    """Those that took displayed size; an order in line trades with what is printed."""
    fills = Fill.objects.filter(
        instrument_id__in=instrument_ids,
        model__in=(FillModel.NBBO, FillModel.QUEUE),
        trade_sequence__isnull=True,
    ).exclude(resolution=AUCTION)
    return list(fills.order_by("-pk")[:FILLS_LOOKED_AT])


def _after(fill: Fill) -> _Taken:
    displayed = fill.ask_size if fill.side == Side.BUY else fill.bid_size
    taken = to_units(fill.taken_before + fill.quantity, QUANTITY_PLACES)
    level = Level(to_units(fill.price, PRICE_PLACES), displayed, taken)
    return _Taken((fill.quote_epoch, fill.quote_sequence), level, to_micros(fill.quote_at))


def _rolled(found: _Taken, is_buy: bool, quote: Quote) -> Level:
    """What the quotes between the fill's and this one have left of the level."""
    level, after = found.level, None
    for _ in range(PAGES_MAX):
        page = store.page(
            store.QUOTES, [quote.symbol], found.at_us, quote.at_us, limit=PAGE, after=after
        )
        for between in page.ticks:
            assert isinstance(between, Quote)
            if found.place < _place(between) < _place(quote):
                level = roll(level, *touch(between, is_buy))
        after = page.after
        if after is None or not level.taken:
            break
    return level


def _place(quote: Quote) -> tuple[int, int]:
    return quote.epoch, quote.sequence
