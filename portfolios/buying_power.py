"""What an account can afford: one pure function for the screen, the API and the order check.

Cash accounts only (multiplier 1); `margin.py` has the rules of the others.

A purchase needs its value in cash. A short sale needs its value too: the sale brings that much in,
but the shares are owed (the proceeds are not the account's to spend) and as much again secures the
debt. So an open order takes what it holds, and a short position twice what it was sold for; the
moment a short order fills, its hold turns into that security without a jump:

    order held at 1,000          cash 10,000   hold 1,000   short cost     0   power 9,000
    filled at 1,000              cash 11,000   hold     0   short cost 1,000   power 9,000
"""

from __future__ import annotations

from decimal import ROUND_CEILING, Decimal

from quotes.amounts import CASH_PLACES, EXACT

ZERO = Decimal(0)


def buying_power(cash: Decimal, hold_cash: Decimal, short_cost: Decimal = ZERO) -> Decimal:
    """What the account can still spend on opening orders; never shown below zero.

    `hold_cash` is what open orders hold, `short_cost` what its short positions were sold for (a
    positive number, `queries.short_cost`).
    """
    assert hold_cash >= 0, f"holds of {hold_cash}"
    return max(spendable(cash, short_cost) - hold_cash, ZERO)


def spendable(cash: Decimal, short_cost: Decimal = ZERO) -> Decimal:
    """The cash that no position needs, whatever open orders hold of it."""
    assert short_cost >= 0, f"short positions sold for {short_cost}"
    return cash - 2 * short_cost


def order_value(quantity: Decimal, price: Decimal) -> Decimal:
    """What an opening order of that size needs at that price, fees apart.

    Rounded up, so that no sum of fills rounded one by one comes to be worth more than a cent's
    hundredth above what was held for it.
    """
    assert quantity > 0, f"an order of {quantity}"
    assert price > 0, f"an order at {price}"
    value = EXACT.multiply(quantity, price)
    return value.quantize(Decimal(1).scaleb(-CASH_PLACES), rounding=ROUND_CEILING, context=EXACT)
