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
        """Last trade, else mid of a quote; of all instruments, for an engine hears every tick and
        an account's margin depends on what it holds in other shards too."""
        symbol = self._listing.symbols.get(instrument_id)
        if symbol is None:
            return None
        quote, trade = self._standing.quote(symbol), self._standing.trade(symbol)
        return mark(Latest(quote=quote, trade=trade), None)
