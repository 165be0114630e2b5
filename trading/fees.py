"""What a trade costs beyond its price: the one place that says so."""

from __future__ import annotations


def fee(*, is_buy: bool, quantity: int, price: int) -> int:
    """The fee of one execution in 1/10,000 USD: trading is free here, for now.

    The quantity is in billionths of a share, the price in 1/10,000 USD. Holds and settlement ask
    this same function, so that a buy never costs more than its hold, fees included. It may never
    charge more for parts than for their whole at a higher price.
    """
    del is_buy, quantity, price
    return 0
