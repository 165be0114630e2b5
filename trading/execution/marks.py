"""What positions are worth by the floor's standing ticks: nothing is read for it."""

from __future__ import annotations

from decimal import Decimal

from portfolios.valuation import mark
from quotes.latest import Latest
from trading.execution.floor import Floor
from trading.execution.intake import Listing


class FloorMarks:
    """Prices by instrument id, as of the tick that was heard last; `portfolios.borrowing.Marks`."""

    def __init__(self, floor: Floor, listing: Listing) -> None:
        self._standing = floor.standing
        self._listing = listing

    def get(self, instrument_id: int) -> Decimal | None:
        """Last trade, else mid of a quote; None for what this shard does not trade."""
        instrument = self._listing.by_id.get(instrument_id)
        if instrument is None:
            return None
        symbol = instrument.symbol
        quote, trade = self._standing.quote(symbol), self._standing.trade(symbol)
        return mark(Latest(quote=quote, trade=trade), None)
