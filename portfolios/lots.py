"""Lots: opening, choosing, relieving. Pure: works on Lot objects in memory, stores nothing.

A long lot has positive quantities and cost, a short lot negative ones: what a short lot "cost" is
minus what the sale brought in. Fees never enter the cost; a lot keeps its opening fee and gives it
up pro rata as it is closed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from uuid import UUID

from events.bulk import new_row
from portfolios.models import Lot, LotMethod
from quotes.amounts import EXACT, rounded

ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Choice:
    """Which lots a closing execution relieves first."""

    method: LotMethod = LotMethod.FIFO
    named: tuple[UUID, ...] = ()  # the executions that opened them, in order, for `specific`

    def stored(self) -> list[str] | None:
        """As a posting keeps it; None for the oldest first."""
        if self.method == LotMethod.FIFO:
            return None
        return [self.method.value, *map(str, self.named)]

    @classmethod
    def from_stored(cls, stored: Sequence[str] | None) -> Choice:
        if stored is None:
            return OLDEST_FIRST
        method, *named = stored
        return cls(LotMethod(method), tuple(UUID(text) for text in named))


OLDEST_FIRST = Choice()


@dataclass(slots=True)
class Relief:
    """What closing took out of the lots: signed quantity and cost, the opening fees with it.

    `todays_*` is the part of it that came out of lots opened on the current trade date.
    """

    quantity: Decimal = ZERO
    cost: Decimal = ZERO
    fee: Decimal = ZERO
    todays_quantity: Decimal = ZERO
    todays_cost: Decimal = ZERO
    reduced: list[Lot] = field(default_factory=list)
    closed: list[Lot] = field(default_factory=list)


def open_lot(
    *,
    account_id: int,
    instrument_id: int,
    execution_id: UUID,
    price: Decimal,
    quantity: Decimal,
    cost: Decimal,
    fee: Decimal,
    at: datetime,
    on: date | None = None,
) -> Lot:
    """A new lot, not yet written; quantity and cost are negative for a short one."""
    assert quantity != 0, "a lot of nothing"
    assert quantity * cost >= 0, f"a lot of {quantity} at a cost of {cost}"
    return new_row(
        Lot,
        account_id=account_id,
        instrument_id=instrument_id,
        execution_id=execution_id,
        price=price,
        quantity_opened=quantity,
        quantity_left=quantity,
        cost_left=cost,
        fee_left=fee,
        opened_at=at,
        opened_on=on,
    )


def relieve(
    lots: list[Lot],
    quantity: Decimal,
    *,
    choice: Choice = OLDEST_FIRST,
    today: date | None = None,
) -> Relief:
    """Close `quantity` shares (not negative, also of short lots) from the chosen lots on.

    `lots` are in the order they were opened. Those that are closed leave the list.

    Part of a lot takes round(cost left × closed ÷ left), half-even, and its opening fee alike; the
    last part takes all that remains, so nothing is ever lost to rounding. The lots must hold at
    least that many shares, all of one direction.
    """
    assert quantity >= 0, f"closing {quantity}"
    relief = Relief()
    wanted = quantity
    for lot in in_order(lots, choice):
        if wanted == 0:
            break
        taken = min(abs(lot.quantity_left), wanted)
        wanted -= taken
        _take(lot, taken, relief, is_todays=today is not None and lot.opened_on == today)
    assert wanted == 0, f"{wanted} shares more to close than the lots hold"
    if choice.method == LotMethod.FIFO:
        del lots[: len(relief.closed)]  # first in, first out: the closed ones lead the list
    elif relief.closed:
        lots[:] = [lot for lot in lots if lot.quantity_left]
    return relief


def in_order(lots: Sequence[Lot], choice: Choice) -> Sequence[Lot]:
    """The lots as the choice relieves them; they come in the order they were opened."""
    match choice.method:
        case LotMethod.LIFO:
            return lots[::-1]
        case LotMethod.HIFO:
            dearest_last = sorted(lots, key=lambda lot: lot.price)  # stable: the newest last, too
            return dearest_last[::-1]
        case LotMethod.SPECIFIC:
            place = {execution_id: n for n, execution_id in enumerate(choice.named)}
            return sorted(lots, key=lambda lot: place.get(lot.execution_id, len(place)))
    return lots


def _take(lot: Lot, taken: Decimal, relief: Relief, *, is_todays: bool) -> None:
    left = abs(lot.quantity_left)
    cost = part(lot.cost_left, taken, left)
    fee = part(lot.fee_left, taken, left)
    signed = taken if lot.quantity_left > 0 else -taken
    assert relief.quantity * signed >= 0, "lots of one position have one direction"
    lot.quantity_left -= signed
    lot.cost_left -= cost
    lot.fee_left -= fee
    relief.quantity += signed
    relief.cost += cost
    relief.fee += fee
    if is_todays:
        relief.todays_quantity += signed
        relief.todays_cost += cost
    (relief.closed if taken == left else relief.reduced).append(lot)


def part(amount: Decimal, share: Decimal, whole: Decimal) -> Decimal:
    """The part of an amount of USD that falls to `share` of `whole`; the whole takes it all."""
    assert 0 < share <= whole, f"{share} of {whole}"
    if share == whole:
        return amount
    return rounded(EXACT.divide(EXACT.multiply(amount, share), whole))
