"""What can happen to accounts, and how: the dice that `test_lives` throws."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

Throw = Callable[[Random], Any]


def between(least: int, most: int) -> Throw:
    return lambda dice: dice.randint(least, most)


def one_of(*values: Any) -> Throw:
    return lambda dice: dice.choice(values)


WHO = {"who": between(0, 1)}
BID = {"bid": between(97, 103)}
SHARES = {"quantity": between(1, 12)}
PRICE = {"price": between(96, 105)}
LASTING = {"lasts": one_of("day", "gtc")}
SIZE = between(0, 15)
EITHER = {"buys": one_of(True, False)}
WHICH = {"which": between(0, 99)}
LOTS = {"closes": one_of("", "lifo", "hifo", "specific", "specific"), "lots": between(0, 99)}

WAYS: dict[str, dict[str, Throw]] = {
    "quotes": {**BID, "spread": between(0, 2), "bid_size": SIZE, "ask_size": SIZE},
    "prints": {**PRICE, "size": between(1, 15)},
    "an_auction_prints": {"price": between(95, 110), "size": between(1, 15)},
    "time_passes": {},
    "the_market_closes": {},
    "evening_comes": {},
    "another_day_begins": {**BID, "size": SIZE},
    "trading_is_halted": {},
    "trading_goes_on": {},
    "the_engine_dies": {},
    "deposits": {**WHO, "amount": between(1, 500)},
    "withdraws": {**WHO, "amount": between(1, 2_000)},
    "limits": {
        **WHO,
        **EITHER,
        **SHARES,
        **PRICE,
        **LOTS,
        "lasts": one_of("day", "day", "gtc", "ioc", "fok"),
    },
    "trades": {**WHO, **EITHER, **SHARES, **LOTS, "lasts": one_of("day", "day", "ioc", "fok")},
    "waits_for_an_auction": {
        **WHO,
        **EITHER,
        "quantity": between(1, 30),
        **LOTS,
        "price": one_of(0, 0, 0, 97, 100, 103),
        "lasts": one_of("opg", "cls"),
    },
    "stops": {**WHO, **EITHER, **SHARES, **PRICE, "then": one_of(0, 0, 1, 3), **LASTING},
    "trails": {**WHO, **SHARES, "trail": between(1, 5), **LASTING},
    "brackets": {
        **WHO,
        **SHARES,
        "price": one_of(0, 0, *range(98, 107)),
        "above": between(1, 4),
        "below": between(1, 4),
        **LASTING,
    },
    "one_triggers_other": {
        **WHO,
        **SHARES,
        "price": between(98, 106),
        "beyond": one_of(-4, -2, -1, 1, 3),
        **LASTING,
    },
    "pairs": {**WHO, **SHARES, **PRICE, "below": between(1, 6), **LASTING},
    "cancels": WHICH,
    "replaces": {**WHICH, **SHARES, **PRICE},
    "replaces_one_of_several": {**WHICH, **PRICE},
    "pulls_the_kill_switch": WHO,
    "begins_anew": {**WHO, "cash": between(2_000, 5_000)},
    "trades_on": {},
}

# How often each happens, beside the others.
ODDS = {
    "quotes": 30,
    "prints": 10,
    "time_passes": 5,
    "limits": 12,
    "trades": 10,
    "stops": 6,
    "trails": 4,
    "brackets": 8,
    "one_triggers_other": 4,
    "pairs": 5,
    "cancels": 4,
    "replaces": 6,
    "replaces_one_of_several": 6,
    "the_market_closes": 3,
    "evening_comes": 4,
    "another_day_begins": 6,
    "waits_for_an_auction": 12,
    "an_auction_prints": 12,
    "trading_is_halted": 1,
    "trading_goes_on": 6,
    "the_engine_dies": 3,
    "deposits": 2,
    "withdraws": 2,
    "pulls_the_kill_switch": 1,
    "trades_on": 6,
    "begins_anew": 1,
}


def throw(dice: Random) -> tuple[str, dict[str, Any]]:
    """What happens next: its name, and how."""
    (what,) = dice.choices(list(ODDS), list(ODDS.values()))
    return what, {name: how(dice) for name, how in WAYS[what].items()}
