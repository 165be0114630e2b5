"""What owners ask of a floor and its model: orders of every kind, and the end of them."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

from portfolios.models import Lot, LotMethod
from tests.trading.lives.both import Both
from tests.trading.lives.tickets import OPEN, WORKING, Ticket
from trading.models import Order, OrderClass, OrderType, Side, TimeInForce
from trading.orders import cancel
from trading.replacing import Changes, replace_order


class Asking(Both):
    """Orders of the two accounts."""

    def limits(
        self, who: int, buys: bool, quantity: int, price: int, lasts: str, closes: str, lots: int
    ) -> None:
        order = Ticket(self.model.lives[who], buys, quantity, price=price, lasts=lasts)
        self.submits(who, order, [], **self.choice(who, order, closes, lots), limit=price)

    def trades(
        self, who: int, buys: bool, quantity: int, lasts: str, closes: str, lots: int
    ) -> None:
        if not self.is_at_the_market:
            return
        order = Ticket(self.model.lives[who], buys, quantity, kind="market", lasts=lasts)
        self.submits(who, order, [], **self.choice(who, order, closes, lots))

    def waits_for_an_auction(
        self, who: int, buys: bool, quantity: int, price: int, lasts: str, closes: str, lots: int
    ) -> None:
        """For the opening or closing one; without a price at whatever that is."""
        kind = "limit" if price else "market"
        order = Ticket(self.model.lives[who], buys, quantity, kind, price, lasts)
        self.submits(who, order, [], **self.choice(who, order, closes, lots), limit=price)

    def stops(self, who: int, buys: bool, quantity: int, price: int, then: int, lasts: str) -> None:
        """A stop, or with `then`, a distance from it, a stop-limit order."""
        limit = price + (then if buys else -then) if then else 0
        order = Ticket(self.model.lives[who], buys, quantity, "stop", price, lasts, then=limit)
        kind = OrderType.STOP_LIMIT if limit else OrderType.STOP
        self.submits(who, order, [], limit=limit, type=kind, stop_price=Decimal(price))

    def trails(self, who: int, quantity: int, trail: int, lasts: str) -> None:
        life = self.model.lives[who]
        if self.is_at_the_market and life.books.quantity > 0:
            order = Ticket(life, False, quantity, kind="trail", lasts=lasts, trail=trail)
            fields = {"type": OrderType.TRAILING_STOP, "trail_price": Decimal(trail)}
            self.submits(who, order, [], **fields)

    def brackets(
        self, who: int, quantity: int, price: int, above: int, below: int, lasts: str
    ) -> None:
        """Of a limit order, or without a price, of one at the market."""
        bid, ask = (price, price) if price else self.model.market.touch
        if not price and not self.is_at_the_market:
            return
        order = self.entry(who, quantity, price, lasts)
        legs = [
            self.exit(order, "limit", ask + above, "profit"),
            self.exit(order, "stop", bid - below, "loss"),
        ]
        exits = {"take_profit": Decimal(ask + above), "stop_loss": Decimal(bid - below)}
        self.submits(who, order, legs, limit=price, order_class=OrderClass.BRACKET, **exits)

    def one_triggers_other(
        self, who: int, quantity: int, price: int, beyond: int, lasts: str
    ) -> None:
        """An entry with a take-profit above it, or a stop-loss below."""
        order = self.entry(who, quantity, price, lasts)
        leg = self.exit(order, "limit" if beyond > 0 else "stop", price + beyond, "exit")
        exits = {"take_profit" if beyond > 0 else "stop_loss": Decimal(price + beyond)}
        self.submits(who, order, [leg], limit=price, order_class=OrderClass.OTO, **exits)

    def pairs(self, who: int, quantity: int, price: int, below: int, lasts: str) -> None:
        order = Ticket(
            self.model.lives[who], False, quantity, price=price, lasts=lasts, leg="profit"
        )
        legs = [self.exit(order, "stop", price - below, "loss")]
        exits = {"take_profit": Decimal(price), "stop_loss": Decimal(price - below)}
        self.submits(who, order, legs, limit=price, order_class=OrderClass.OCO, **exits)

    def cancels(self, which: int) -> None:
        order = self.one_of(which, OPEN)
        if order is not None:
            self.model.cancel(order)
            real = Order.objects.get(pk=self.real[order])
            cancel(account_id=real.account_id, order_id=real.public_id, actor="test")

    def replaces(self, which: int, quantity: int, price: int) -> None:
        old = self.one_of(which, WORKING, simple=True)
        if old is None or quantity <= old.filled or (quantity, price) == (old.quantity, old.price):
            return
        order = Ticket(old.life, old.buys, quantity - old.filled, price=price, lasts=old.lasts)
        changes = Changes(quantity=Decimal(quantity), limit_price=Decimal(price))
        self.puts_in_its_place(old, order, changes)

    def replaces_one_of_several(self, which: int, price: int) -> None:
        """The entry or an exit of a bracket, OCO or OTO, at another price."""
        old = self.one_of(which, OPEN, simple=False)
        if old is None or price == old.price:
            return
        order = Ticket(old.life, old.buys, old.left, old.kind, price, old.lasts, old.leg)
        has_limit = old.kind == "limit" or old.leg == "entry"
        changed = "limit_price" if has_limit else "stop_price"
        self.puts_in_its_place(old, order, Changes(**{changed: Decimal(price)}))

    # How.

    @property
    def is_at_the_market(self) -> bool:
        """Whether an order can be placed at the price that stands."""
        return self.model.market.is_open and not self.model.market.is_halted

    def puts_in_its_place(self, old: Ticket, order: Ticket, changes: Changes) -> None:
        real = Order.objects.get(pk=self.real[old])
        asked = {"account_id": real.account_id, "order_id": real.public_id, "changes": changes}
        self.both(
            lambda: self.model.replace(old, order),
            lambda: self.real.update({order: replace_order(**asked, actor="test").pk}),
        )

    def choice(self, who: int, order: Ticket, closes: str, number: int) -> dict[str, Any]:
        """How the order closes lots: some way, or one or two of those that there are."""
        held = order.life.books.lots
        if not closes or (closes == "specific" and not held):
            return {}
        order.method, ids = closes, []
        if closes == "specific":
            places = list(dict.fromkeys([number % len(held), number // 10 % len(held)]))
            order.named = tuple(held[place] for place in places)
            rows = Lot.objects.filter(account=self.accounts[who]).order_by("pk")
            keys = list(rows.values_list("pk", flat=True))
            ids = [keys[place] for place in places]
        return {"lot_method": LotMethod(closes), "lots": tuple(ids)}

    def entry(self, who: int, quantity: int, price: int, lasts: str) -> Ticket:
        kind = "limit" if price else "market"
        return Ticket(self.model.lives[who], True, quantity, kind, price, lasts, leg="entry")

    def exit(self, entry: Ticket, kind: str, price: int, leg: str) -> Ticket:
        order = Ticket(entry.life, False, entry.quantity, kind, price, entry.lasts, leg, "held")
        order.bound = Fraction(price if kind == "limit" else 0)
        return order

    def one_of(
        self, which: int, statuses: tuple[str, ...], *, simple: bool | None = None
    ) -> Ticket | None:
        """An order; with `simple` a limit order on its own, without one of several."""
        found = [order for order in self.real if order.status in statuses]
        if simple:
            found = [order for order in found if order.kind == "limit" and not order.leg]
        elif simple is False:
            found = [order for order in found if order.leg]
        return found[which % len(found)] if found else None

    def submits(self, who: int, order: Ticket, legs: list[Ticket], **fields: Any) -> None:
        fields["time_in_force"] = TimeInForce(order.lasts)
        side = Side.BUY if order.buys else Side.SELL
        account, quantity = self.accounts[who], str(order.quantity)
        fields["limit"] = fields.get("limit") or None
        self.both(
            lambda: self.model.submit(order, legs),
            lambda: self.stored(
                [order, *legs], self.floor.place(account, side, quantity, **fields)
            ),
        )

    def stored(self, orders: list[Ticket], first: Order) -> None:
        legs = Order.objects.filter(parent=first).order_by("pk")
        for order, row in zip(orders, [first, *legs], strict=True):
            self.real[order] = row.pk
