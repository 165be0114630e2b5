"""The books of one instrument in the most obvious way: exact fractions, a list, no cleverness."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction


def to_cash(amount: Fraction) -> Fraction:
    """To the nearest 0.0001 USD, half to even."""
    return Fraction(round(amount * 10_000), 10_000)


@dataclass(eq=False)
class ModelLot:
    price: Decimal
    quantity: Fraction  # always positive; the model's `direction` says which way
    cost: Fraction  # always positive
    fee: Fraction


@dataclass
class Model:
    """Cash, one position and its lots; `direction` is 1 long, -1 short, 0 flat."""

    cash: Fraction = Fraction(0)
    direction: int = 0
    lots: list[ModelLot] = field(default_factory=list)
    realized: Fraction = Fraction(0)
    method: str = "fifo"
    named: tuple[ModelLot, ...] = ()

    def execute(
        self,
        side: str,
        quantity: Decimal,
        price: Decimal,
        fee: Decimal,
        method: str = "fifo",
        named: tuple[ModelLot, ...] = (),
    ) -> None:
        self.method, self.named = method, named
        direction = 1 if side == "buy" else -1
        whole = Fraction(quantity)
        value = to_cash(whole * Fraction(price))
        self.cash -= direction * value + Fraction(fee)
        if self.direction in (0, direction):
            self._open(direction, price, whole, value, Fraction(fee))
            return
        held = sum(lot.quantity for lot in self.lots)
        closing = min(held, whole)
        if closing == whole:
            self._close(closing, value, Fraction(fee))
            return
        closing_value = to_cash(value * closing / whole)
        closing_fee = to_cash(Fraction(fee) * closing / whole)
        self._close(closing, closing_value, closing_fee)
        left, left_fee = value - closing_value, Fraction(fee) - closing_fee
        self._open(direction, price, whole - closing, left, left_fee)

    def _open(
        self, direction: int, price: Decimal, quantity: Fraction, cost: Fraction, fee: Fraction
    ) -> None:
        self.direction = direction
        self.lots.append(ModelLot(price, quantity, cost, fee))

    def _next(self) -> ModelLot:
        """The lot to relieve next."""
        if self.method == "lifo":
            return self.lots[-1]
        if self.method == "specific":
            return next((lot for lot in self.named if lot in self.lots), self.lots[0])
        if self.method == "hifo":
            dearest = max(lot.price for lot in self.lots)
            return [lot for lot in self.lots if lot.price == dearest][-1]
        return self.lots[0]

    def _close(self, quantity: Fraction, value: Fraction, fee: Fraction) -> None:
        cost = opening_fees = Fraction(0)
        while quantity > 0:
            lot = self._next()
            taken = min(lot.quantity, quantity)
            if taken == lot.quantity:
                part_cost, part_fee = lot.cost, lot.fee
                self.lots.remove(lot)
            else:
                part_cost = to_cash(lot.cost * taken / lot.quantity)
                part_fee = to_cash(lot.fee * taken / lot.quantity)
                lot.cost -= part_cost
                lot.fee -= part_fee
                lot.quantity -= taken
            cost += part_cost
            opening_fees += part_fee
            quantity -= taken
        profit = value - cost if self.direction == 1 else cost - value
        self.realized += profit - fee - opening_fees
        if not self.lots:
            self.direction = 0

    @property
    def quantity(self) -> Fraction:
        return self.direction * sum((lot.quantity for lot in self.lots), Fraction(0))

    @property
    def cost_basis(self) -> Fraction:
        return self.direction * sum((lot.cost for lot in self.lots), Fraction(0))
