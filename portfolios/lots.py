"""FIFO lots: opening, relieving, summing. Pure: works on Lot objects in memory, stores nothing.

A long lot has positive quantities and cost, a short lot negative ones: what a short lot "cost" is
minus what the sale brought in. Fees never enter the cost; a lot keeps its opening fee and gives it
up pro rata as it is closed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from events.bulk import new_row
from portfolios.models import Lot
from quotes.amounts import EXACT, rounded

ZERO = Decimal(0)


@dataclass(slots=True)
class Relief:
    """What closing took out of the lots: signed quantity and cost, the opening fees with it."""

    quantity: Decimal = ZERO
    cost: Decimal = ZERO
    fee: Decimal = ZERO
    reduced: list[Lot] = field(default_factory=list)
    closed: list[Lot] = field(default_factory=list)

    def __add__(self, later: Relief) -> Relief:
        return Relief(
            self.quantity + later.quantity,
            self.cost + later.cost,
            self.fee + later.fee,
            self.reduced + later.reduced,
            self.closed + later.closed,
        )


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
    )


def relieve(lots: list[Lot], quantity: Decimal) -> Relief:
    """Close `quantity` shares (not negative, also of short lots) from the oldest lots on.

    Lots that are closed leave the list.

    Part of a lot takes round(cost left × closed ÷ left), half-even, and its opening fee alike; the
    last part takes all that remains, so nothing is ever lost to rounding. The lots must hold at
    least that many shares, all of one direction.
    """
    assert quantity >= 0, f"closing {quantity}"
    relief = Relief()
    wanted = quantity
    for lot in lots:
        if wanted == 0:
            break
        taken = min(abs(lot.quantity_left), wanted)
        wanted -= taken
        _take(lot, taken, relief)
    assert wanted == 0, f"{wanted} shares more to close than the lots hold"
    del lots[: len(relief.closed)]  # first in, first out: the closed ones lead the list
    return relief


def _take(lot: Lot, taken: Decimal, relief: Relief) -> None:
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
    (relief.closed if taken == left else relief.reduced).append(lot)


def part(amount: Decimal, share: Decimal, whole: Decimal) -> Decimal:
    """The part of an amount of USD that falls to `share` of `whole`; the whole takes it all."""
    assert 0 < share <= whole, f"{share} of {whole}"
    if share == whole:
        return amount
    return rounded(EXACT.divide(EXACT.multiply(amount, share), whole))
