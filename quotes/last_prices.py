"""What the last price of each symbol is, as trades are printed, corrected and canceled. Pure.

The last price is that of the newest print that sets one, as the tape is by now. Where that print is
taken back, it is the one before, as far as earlier ones are known (`quotes.kept_trades`). Where
none is, there is no last price until the next trade: whoever values something goes by the quote
then, or by the close before, as if the symbol had not traded. What never was is nobody's price.

Only the feed knows the earlier trades, so only it decides; everybody else takes its word, and by
its rank the newest one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from quotes.ticks import CANCELED, Amendment, Trade


class LastPrices:
    """The last word on each symbol. `newest` finds the newest price among the trades as they are
    after the amendments that are passed in, None where it knows none."""

    def __init__(self, newest: Callable[[str], Trade | None]) -> None:
        self._newest = newest
        self._said: dict[str, Trade] = {}

    def hear(self, trades: Mapping[str, Trade]) -> None:
        """Note the newest print of each symbol that sets the price."""
        self._said |= trades

    def amend(self, amendments: Iterable[Amendment]) -> list[Amendment]:
        """The same, each with what the last price is by it, where that is another."""
        return [self._amended(amendment) for amendment in amendments]

    def _amended(self, amendment: Amendment) -> Amendment:
        symbol = amendment.symbol
        said = self._said.get(symbol)
        price = self._price_by(amendment, said)
        if price is None:
            return amendment
        last = self._said[symbol] = price._replace(stands=_rank_after(said, price))
        return amendment._replace(last=last)

    def _price_by(self, amendment: Amendment, said: Trade | None) -> Trade | None:
        """The price that counts from now on; None where nothing changes."""
        now, number = amendment.as_print(), amendment.number
        held = None if said is None or said.is_canceled else (said.epoch, said.sequence)
        if now is not None and now.sets_price and (held is None or number >= held):
            received_us = said.received_us if said and number == held else now.received_us
            return now._replace(received_us=received_us)
        if said is None or number != held:
            return None
        return self._newest(amendment.symbol) or said._replace(amended=CANCELED)


def _rank_after(said: Trade | None, price: Trade) -> tuple[int, int, int]:
    """Beyond all that was said before, and before the next print."""
    place = price.epoch, price.sequence
    if said is None or place > said.rank[:2]:
        return *place, 1
    return *said.rank[:2], said.rank[2] + 1
