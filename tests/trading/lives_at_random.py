"""What can happen to accounts, and how: the dice that `test_lives` throws."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

who = st.integers(0, 1)
some_shares = st.integers(1, 20)
prices = st.integers(95, 107)
bids = st.integers(95, 105)
sizes = st.integers(0, 15)
lasting = st.sampled_from(["day", "gtc"])


WAYS: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    name: st.fixed_dictionaries(how)
    for name, how in {
        "quotes": {
            "bid": bids,
            "spread": st.integers(0, 2),
            "bid_size": sizes,
            "ask_size": sizes,
        },
        "prints": {"price": prices},
        "time_passes": {},
        "the_market_closes": {},
        "another_day_begins": {"bid": bids, "size": sizes},
        "trading_is_halted_or_goes_on": {},
        "the_engine_dies": {},
        "deposits": {"who": who, "amount": st.integers(1, 500)},
        "withdraws": {"who": who, "amount": st.integers(1, 2_000)},
        "limits": {
            "who": who,
            "buys": st.booleans(),
            "quantity": some_shares,
            "price": prices,
            "lasts": st.sampled_from(["day", "day", "gtc", "ioc", "fok"]),
        },
        "trades": {
            "who": who,
            "buys": st.booleans(),
            "quantity": some_shares,
            "lasts": st.sampled_from(["day", "day", "ioc", "fok"]),
        },
        "stops": {
            "who": who,
            "quantity": some_shares,
            "price": prices,
            "lasts": lasting,
        },
        "brackets": {
            "who": who,
            "quantity": some_shares,
            "price": st.integers(98, 106),
            "above": st.integers(1, 4),
            "below": st.integers(1, 4),
            "lasts": lasting,
        },
        "pairs": {
            "who": who,
            "quantity": some_shares,
            "price": prices,
            "below": st.integers(1, 6),
            "lasts": lasting,
        },
        "cancels": {"which": st.integers(0, 99)},
        "replaces": {
            "which": st.integers(0, 99),
            "quantity": some_shares,
            "price": prices,
        },
        "pulls_the_kill_switch": {"who": who},
        "trades_on": {},
    }.items()
}
# What happens, the oftener the more often it is named.
MARKET = ["quotes", "quotes", "prints", "time_passes"]
ORDERS = [
    "limits",
    "limits",
    "trades",
    "trades",
    "stops",
    "brackets",
    "brackets",
    "pairs",
    "cancels",
    "replaces",
]
SELDOM = [
    "the_market_closes",
    "another_day_begins",
    "another_day_begins",
    "trading_is_halted_or_goes_on",
    "the_engine_dies",
    "deposits",
    "withdraws",
    "pulls_the_kill_switch",
    "trades_on",
    "trades_on",
]
