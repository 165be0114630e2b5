"""Profit and return over a row of moments, with what was paid in and out left aside. Pure.

The return is time-weighted: the growth of each stretch between two moments, multiplied. Within a
stretch money paid in counts as there from its beginning, money paid out as there to its end, so a
return never divides by money that was not there. Without such flows it is profit ÷ base.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from quotes.amounts import EXACT, rounded

ZERO = Decimal(0)
ONE = Decimal(1)
RETURN_PLACES = 10


@dataclass(frozen=True, slots=True)
class Moment:
    """The end of a stretch: what the account was worth, and what went in and out during it."""

    equity: Decimal
    paid_in: Decimal = ZERO
    paid_out: Decimal = ZERO  # positive


@dataclass(frozen=True, slots=True)
class Result:
    """Since the beginning: profit in USD, and the time-weighted return as a fraction.

    The return is None while there has been nothing to earn it on.
    """

    profit: Decimal
    total_return: Decimal | None


def results(base: Decimal, moments: Iterable[Moment]) -> list[Result]:
    """What was earned up to each moment; `base` is the worth at the beginning."""
    found: list[Result] = []
    flows, before = ZERO, base
    growth: Decimal | None = None
    for moment in moments:
        flows += moment.paid_in - moment.paid_out
        stake = before + moment.paid_in
        if stake > 0:
            factor = EXACT.divide(moment.equity + moment.paid_out, stake)
            growth = factor if growth is None else EXACT.multiply(growth, factor)
        shown = None if growth is None else rounded(growth - ONE, RETURN_PLACES)
        found.append(Result(moment.equity - base - flows, shown))
        before = moment.equity
    return found


def time_weighted_return(base: Decimal, moments: Sequence[Moment]) -> Decimal | None:
    """The return over all of them; None where there was nothing to earn it on."""
    return results(base, moments)[-1].total_return if moments else None
