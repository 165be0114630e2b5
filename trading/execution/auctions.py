"""Orders for the official opening and closing auctions, from acceptance to the cross.

They stay `accepted` until the auction prints: it takes them in and fills them in one go, or ends
those whose limit its price does not meet. One price, and all of an order or nothing, for whoever
accepts the price of an auction trades in it. An order whose auction never prints ends when its time
is up.
"""

from __future__ import annotations

from collections.abc import Callable

from quotes.amounts import PRICE_PLACES, from_units, plain
from quotes.ticks import Quote, Trade
from trading import holds
from trading.execution.decisions import AUCTION, Admission, Decision, Ending, Execution
from trading.execution.matching import FillModel, WorkingOrder, match_auction
from trading.models import OrderStatus


class Auctions:
    """Who waits for which auction."""

    def __init__(self, decide: Callable[[Decision], None], model: FillModel) -> None:
        self._decide = decide
        self._model = model
        self._waiting: dict[tuple[str, str], dict[int, WorkingOrder]] = {}

    def pks(self) -> set[int]:
        """The row ids of all that wait."""
        return {pk for orders in self._waiting.values() for pk in orders}

    def wait(self, order: WorkingOrder) -> None:
        self._waiting.setdefault((order.symbol, order.auction), {})[order.pk] = order

    def forget(self, pk: int) -> None:
        """The order is over."""
        for orders in self._waiting.values():
            orders.pop(pk, None)

    def cross(self, trade: Trade, now_us: int) -> None:
        """The auction has printed: oldest first, fill who accepts its price and end the others."""
        orders = self._waiting.pop((trade.symbol, trade.auction), {})
        for pk in sorted(orders):
            order = orders[pk]
            if trade.at_us < order.expires_us:
                self._cross(order, trade, max(now_us, order.submitted_us))

    def _cross(self, order: WorkingOrder, trade: Trade, at_us: int) -> None:
        found = match_auction(order, trade.price)
        price = from_units(trade.price, PRICE_PLACES)
        if found is None:
            reason = f"the auction's price was {plain(price)}"
            self._decide(Ending(order, at_us, OrderStatus.CANCELED, reason))
            return
        needs_collar = holds.needs_collar(
            is_market=order.is_market,
            is_buy=order.is_buy,
            by_amount=order.leaves is None,
            is_short=order.is_short,
        )
        self._decide(
            Admission(
                order,
                at_us,
                price if needs_collar else None,
                price if needs_collar and order.is_short else None,
            )
        )
        completes = order.take(found)
        quote = auction_quote(trade)
        self._decide(Execution(order, at_us, quote, found, order.fills, completes, self._model))


def auction_quote(trade: Trade) -> Quote:
    """The auction as a quote, for the certificate: what it traded, at its one price."""
    return Quote(
        trade.symbol, trade.at_us, trade.price, trade.size, trade.price, trade.size,
        trade.sequence, trade.epoch, trade.received_us, resolution=AUCTION,
    )  # fmt: skip
