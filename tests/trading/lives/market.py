"""What stands in the market, what is taken of it, and who waits in line behind it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tests.trading.lives.tickets import Ticket


class Market:
    """One instrument. A side is False where sells meet it, the bid, and True for the ask."""

    def __init__(self, *, has_lines: bool) -> None:
        self.has_lines = has_lines  # resting limit orders queue behind what is displayed
        self.touch, self.sizes, self.taken = [0, 0], [0, 0], [0, 0]
        self.proved = [0, 0]  # what of the taken a fill tells of, which another engine knows
        self.last = 0
        self.is_open, self.is_halted, self.is_evening = True, False, False
        self.has_quote = self.has_trade = False  # of this session

    @property
    def trades(self) -> bool:
        return self.is_open and self.has_quote and not self.is_halted

    def show(self, touch: list[int], sizes: list[int]) -> None:
        """At a new price nothing is taken; what goes away from an old one was the taken part."""
        for side in (False, True):
            gone = max(self.sizes[side] - sizes[side], 0)
            for taken in (self.taken, self.proved):
                stays = max(taken[side] - gone, 0)
                taken[side] = stays if touch[side] == self.touch[side] else 0
        self.touch, self.sizes, self.has_quote = touch, sizes, self.is_open

    def forget(self) -> None:
        """Another engine takes over: it knows of the fills, and what was quoted since."""
        self.taken = list(self.proved)

    def take(self, order: Ticket) -> int:
        """How much an order trades with what is displayed; in line it only reaches for it."""
        side, price = order.buys, self.touch[order.buys]
        quantity = min(order.left - order.reached, self.sizes[side] - self.taken[side])
        beyond = price > order.bound if order.buys else price < order.bound
        short_of = order.lasts == "fok" and quantity < order.left
        if not self.trades or beyond or quantity <= 0 or short_of:
            return 0
        self.taken[side] += quantity
        if order.ahead or order.reached:
            order.reached += quantity
            return 0
        self.proved[side] = self.taken[side]
        return quantity

    def line_up(self, order: Ticket) -> None:
        """A limit order stands behind all at its price, and first where it betters the touch."""
        own, displayed = self.touch[not order.buys], self.sizes[not order.buys]
        if order.ahead is not None or order.kind != "limit" or not self.has_lines:
            return
        if order.price == own:
            order.ahead = displayed
        elif (order.price > own) is order.buys:
            order.ahead = 0

    def let(self, line: Iterable[Ticket], price: int, size: int) -> Iterator[tuple[Ticket, int]]:
        """A trade: what it lets each of one side's orders have, the best first.

        At an order's price it takes from those ahead first; through it, nobody is ahead any more.
        """
        used = 0
        for order in line:
            is_through = price < order.bound if order.buys else price > order.bound
            if order.ahead is None or not (is_through or price == order.bound):
                continue
            quantity = order.reached
            if not is_through:
                quantity = min(quantity, max(size - order.ahead - used, 0))
                used += quantity
            order.ahead = 0 if is_through else max(order.ahead - size, 0)
            order.reached -= quantity
            if quantity:
                yield order, quantity
