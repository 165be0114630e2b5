"""Where a trailing stop stands, from the best price it has seen. Pure.

Prices in 1/10,000 USD. A sell follows the bid and is triggered by it, a buy the ask: the side at
which it would execute. The *high-water mark* is the highest bid, or the lowest ask, since the order
was submitted; the stop keeps its distance from it and so only ever moves towards the market.
"""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

from quotes.amounts import PRICE_PLACES, to_units

PERCENT_PLACES = 4
WHOLE = 100 * 10**PERCENT_PLACES  # a hundred percent, as `Trail.percent` counts


class Trail(NamedTuple):
    """The distance to keep: one of the two is 0."""

    price: int = 0  # in 1/10,000 USD
    percent: int = 0  # in 1/10,000 of a percent of the mark


def trail_of(price: Decimal | None, percent: Decimal | None) -> Trail | None:
    """The trail in units, None where there is neither."""
    if price is not None:
        return Trail(price=to_units(price, PRICE_PLACES))
    if percent is not None:
        return Trail(percent=to_units(percent, PERCENT_PLACES))
    return None


def stop_of(mark: int, trail: Trail, is_buy: bool) -> int:
    """The stop at that mark, rounded away from the market, so that rounding triggers nothing.

    0 for a sell whose trail is all of the price: nothing triggers it.
    """
    if trail.price:
        return mark + trail.price if is_buy else max(mark - trail.price, 0)
    if is_buy:
        return -(-mark * (WHOLE + trail.percent) // WHOLE)
    return max(mark * (WHOLE - trail.percent) // WHOLE, 0)


def better_mark(mark: int, price: int, is_buy: bool) -> int:
    """The mark once the side that the order follows has stood at this price."""
    return min(mark, price) if is_buy else max(mark, price)
