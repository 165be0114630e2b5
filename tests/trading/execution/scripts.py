"""Scripts of orders and ticks for matchers, and the real floor that plays them."""

from __future__ import annotations

import uuid
from copy import copy
from typing import Any

from hypothesis import strategies as st

from quotes.amounts import QUANTITY_UNIT
from quotes.calendar import EXCHANGE
from quotes.models import Instrument
from quotes.ticks import Quote, Trade, to_micros
from tests.portfolios.factories import new_york
from tests.trading.naive_matcher import Halt, Happening, Script
from trading.execution.auctions import Auctions
from trading.execution.decisions import Admission, Decision, Ending, Execution, Trigger
from trading.execution.floor import Floor
from trading.execution.intake import Listing
from trading.execution.matching import FillModel, WorkingOrder
from trading.trailing import Trail, stop_of

SHARE = QUANTITY_UNIT
NOON_US = to_micros(new_york("2013-10-07 12:00"))


def order(pk: int, side: str = "buy", shares: int = 10, **fields: Any) -> WorkingOrder:
    """A limit order, or whatever the fields make of it."""
    return WorkingOrder(
        **{
            "pk": pk,
            "public_id": uuid.UUID(int=pk),
            "account_id": 1,
            "instrument_id": 1,
            "symbol": "AAPL",
            "is_buy": side == "buy",
            "is_market": False,
            "bound": 10,
            "leaves": shares * SHARE,
            "cash_left": None,
            "expires_us": 2**62,
            **fields,
        }
    )


def quote(bid: int, ask: int, bid_size: int = 100, ask_size: int = 100) -> Quote:
    return Quote("AAPL", NOON_US, bid, bid_size, ask, ask_size)


def trade(price: int, size: int = 1, **fields: Any) -> Trade:
    return Trade("AAPL", NOON_US, price, size, **fields)


def numbered(script: Script) -> Script:
    """The script with a sequence and an instant for each tick."""
    return [
        step
        if isinstance(step, WorkingOrder | Halt)
        else step._replace(sequence=n, epoch=1, at_us=NOON_US + n)
        for n, step in enumerate(script, start=1)
    ]


class RealMarket:
    """Plays a script on the real floor."""

    def __init__(self, model: FillModel) -> None:
        self.instrument = Instrument(symbol="AAPL")
        listing = Listing()
        listing.by_symbol["AAPL"] = self.instrument
        self.decisions: list[Decision] = []
        self.floor = Floor(listing, EXCHANGE, NOON_US, self.decisions.append, model)
        self.auctions = Auctions(self.decisions.append, model)

    def play(self, script: Script) -> list[Happening]:
        happened: list[Happening] = []
        for n, step in enumerate(script):
            first = len(self.decisions)
            self.hear(copy(step))
            happened += [
                happening
                for decision in self.decisions[first:]
                if (happening := _happening(n, decision))
            ]
        return happened

    def hear(self, step: WorkingOrder | Quote | Trade | Halt) -> None:
        if isinstance(step, Quote):
            self.floor.hear(step)
            self.floor.match_resting("AAPL", step)
        elif isinstance(step, Trade):
            if step.auction and not self.instrument.halted:
                self.auctions.cross(step, step.at_us)
            self.floor.hear_trade(step)
        elif isinstance(step, Halt):
            resumed, self.instrument.halted = self.instrument.halted and not step.is_on, step.is_on
            if resumed:
                self.floor.match_standing("AAPL")
        elif step.auction:
            self.auctions.wait(step)
        else:
            self.floor.take_in(Admission(step, self.floor.now_us))


def _happening(step: int, decision: Decision) -> Happening | None:
    pk = decision.order.pk
    match decision:
        case Execution():
            return step, "fill", pk, decision.match.quantity, decision.match.price
        case Trigger():
            return step, "trigger", pk, 0, decision.price
        case Ending():
            return step, "cancel", pk, 0, 0
    return None


# --- random scripts ----------------------------------------------------------------------------

prices = st.integers(1, 12)  # few, so that they meet
sizes = st.integers(0, 6)
shares = st.one_of(st.integers(1, 8).map(lambda n: n * SHARE), st.integers(1, 8 * SHARE))

quotes = st.builds(quote, st.integers(0, 12), st.integers(0, 12), sizes, sizes)
sane_quotes = st.builds(
    lambda bid, spread, bid_size, ask_size: quote(bid, bid + spread, bid_size, ask_size),
    prices,
    st.integers(0, 3),
    sizes,
    sizes,
)
trades = st.builds(
    trade,
    prices,
    st.integers(1, 8),
    sets_price=st.sampled_from((True, True, True, False)),
    auction=st.sampled_from(("", "", "", "", "open", "close")),
)


halts = st.sampled_from((True, False, False)).map(Halt)


@st.composite
def orders(draw: st.DrawFn, amounts: bool = True) -> WorkingOrder:
    """An order of any kind that may be accepted; its row id comes later."""
    side = draw(st.sampled_from(("buy", "sell")))
    fields: dict[str, Any] = {"bound": draw(prices), "leaves": draw(shares)}
    kinds = ["limit", "limit", "market", "ioc", "fok", "auction", "stop", "stop_limit", "trailing"]
    kind = draw(st.sampled_from([*kinds, "amount"] if amounts else kinds))
    if kind in ("market", "stop", "trailing") or (kind == "auction" and draw(st.booleans())):
        fields["is_market"] = True
        fields["bound"] = draw(prices) if side == "buy" else 0
    if kind in ("ioc", "fok"):
        fields |= {"is_immediate": True, "is_all_or_none": kind == "fok"}
    if kind == "auction":
        fields["auction"] = draw(st.sampled_from(("open", "close")))
    if kind in ("stop", "stop_limit"):
        fields["stop"] = draw(prices)
    if kind == "trailing":
        trail = Trail(price=draw(st.integers(1, 4))) if draw(st.booleans()) else Trail(
            percent=draw(st.integers(1, 400_000))
        )  # fmt: skip
        mark = draw(st.integers(6, 12))
        fields |= {"trail": trail, "mark": mark, "stop": stop_of(mark, trail, side == "buy")}
    if kind == "amount":
        fields |= {"leaves": None, "cash_left": draw(st.integers(1, 90))}
    return order(0, side, **fields)


@st.composite
def scripts(draw: st.DrawFn, amounts: bool = True, sane: bool = False) -> Script:
    ticks = sane_quotes if sane else quotes
    steps = draw(st.lists(st.one_of(orders(amounts), ticks, trades, halts), max_size=30))
    made: Script = []
    for pk, step in enumerate(steps, start=1):
        if isinstance(step, WorkingOrder):
            step.pk, step.public_id = pk, uuid.UUID(int=pk)
        made.append(step)
    return numbered(made)
