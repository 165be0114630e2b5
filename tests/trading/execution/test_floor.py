"""The floor: the real one and a naive one pass the same tests, and agree on whatever happens."""

from __future__ import annotations

from typing import Any, Protocol

import pytest
from hypothesis import example, given, settings

from tests.trading.execution.scripts import (
    SHARE,
    RealMarket,
    numbered,
    order,
    quote,
    scripts,
    trade,
)
from tests.trading.naive_matcher import Halt, Happening, NaiveMarket, Script
from trading.execution.matching import FillModel, WorkingOrder
from trading.trailing import Trail

scripted = settings(max_examples=60, deadline=None)  # time is no matter of right and wrong

NBBO, INSTANT, QUEUE = FillModel.NBBO, FillModel.INSTANT, FillModel.QUEUE


class Market(Protocol):
    def __call__(self, *script: Any, model: FillModel = NBBO) -> list[tuple[Any, ...]]:
        """Plays a script; what happens, with quantities in shares and without the step."""


@pytest.fixture(params=[RealMarket, NaiveMarket], ids=["real", "naive"])
def market(request: pytest.FixtureRequest) -> Market:
    def play(*script: Any, model: FillModel = NBBO) -> list[tuple[Any, ...]]:
        happened = request.param(model).play(numbered(list(script)))
        return [
            (what, pk, quantity / SHARE, price) if what == "fill" else (what, pk)
            for _, what, pk, quantity, price in happened
        ]

    return play


def stop(pk: int, side: str, at: int, **fields: Any) -> Any:
    """A stop; a market order once triggered, unless a bound is given."""
    market = {} if "bound" in fields else {"is_market": True, "bound": at if side == "buy" else 0}
    return order(pk, side, **{"stop": at, **market, **fields})


def trailing(pk: int, side: str, mark: int, trail: Trail) -> Any:
    at = mark + trail.price if side == "buy" else mark - trail.price
    return stop(pk, side, at, trail=trail, mark=mark)


class TestStops:
    def test_a_trade_at_the_stop_triggers_it_and_the_quote_fills_it(self, market: Market) -> None:
        found = market(quote(9, 10), stop(1, "buy", 11), trade(10), trade(11))
        assert found == [("trigger", 1), ("fill", 1, 10, 10)]

    def test_a_sell_stop_waits_for_a_trade_at_or_below(self, market: Market) -> None:
        found = market(quote(9, 10), stop(1, "sell", 8), trade(9), trade(7))
        assert found == [("trigger", 1), ("fill", 1, 10, 9)]

    def test_a_quote_alone_triggers_no_plain_stop(self, market: Market) -> None:
        assert market(stop(1, "buy", 11), quote(12, 13), quote(20, 21)) == []

    def test_a_trade_that_sets_no_price_triggers_nothing(self, market: Market) -> None:
        assert market(quote(9, 10), stop(1, "buy", 11), trade(12, sets_price=False)) == []

    def test_a_stop_beyond_the_market_is_triggered_at_once(self, market: Market) -> None:
        found = market(quote(9, 10), trade(10), stop(1, "buy", 8))
        assert found == [("trigger", 1), ("fill", 1, 10, 10)]

    def test_a_triggered_stop_limit_is_a_limit_order(self, market: Market) -> None:
        script = [quote(9, 10), stop(1, "buy", 11, bound=9), trade(11), quote(8, 9)]
        assert market(*script) == [("trigger", 1), ("fill", 1, 10, 9)]

    def test_one_trade_triggers_the_nearest_stop_first(self, market: Market) -> None:
        stops = [stop(1, "buy", 12), stop(2, "buy", 11), stop(3, "buy", 12)]
        found = market(quote(9, 10, ask_size=15), *stops, trade(12))
        assert found == [
            ("trigger", 2),
            ("fill", 2, 10, 10),
            ("trigger", 1),
            ("fill", 1, 5, 10),
            ("trigger", 3),
        ]

    def test_who_rests_is_served_before_a_stop_of_the_same_tick(self, market: Market) -> None:
        resting, trail = order(1, "sell", bound=9), trailing(2, "sell", 12, Trail(price=2))
        found = market(quote(0, 12), resting, trail, quote(9, 12, bid_size=12))
        assert found == [("fill", 1, 10, 9), ("trigger", 2), ("fill", 2, 2, 9)]

    def test_a_collar_protects_a_triggered_buy(self, market: Market) -> None:
        script = [quote(99, 100, ask_size=1), stop(1, "buy", 90, shares=2), trade(95)]
        assert market(*script, quote(104, 105)) == [("trigger", 1), ("fill", 1, 1, 100)]
        assert market(*script, quote(103, 104))[-1] == ("fill", 1, 1, 104)


class TestTrailingStops:
    def test_a_sell_follows_the_bid_up_and_never_down(self, market: Market) -> None:
        trail = trailing(1, "sell", 10, Trail(price=3))
        found = market(trail, quote(10, 11), quote(14, 15), quote(12, 13), quote(11, 12))
        assert found == [("trigger", 1), ("fill", 1, 10, 11)]

    def test_a_buy_follows_the_ask_down_by_percent(self, market: Market) -> None:
        trail = stop(1, "buy", 1_100, trail=Trail(percent=100_000), mark=1_000)
        found = market(trail, quote(899, 900), quote(988, 989), quote(989, 990))
        assert found == [("trigger", 1), ("fill", 1, 10, 990)]

    def test_trades_trigger_no_trailing_stop(self, market: Market) -> None:
        trail = trailing(1, "sell", 10, Trail(price=3))
        assert market(quote(10, 11), trail, trade(1), trade(7)) == []

    def test_a_crossed_quote_neither_moves_nor_triggers(self, market: Market) -> None:
        trail = trailing(1, "sell", 10, Trail(price=3))
        assert market(quote(10, 11), trail, quote(20, 5), quote(10, 11), quote(8, 11)) == []

    def test_a_new_one_starts_from_the_quote_that_stands(self, market: Market) -> None:
        found = market(quote(15, 16), trailing(1, "sell", 10, Trail(price=3)), quote(12, 13))
        assert found == [("trigger", 1), ("fill", 1, 10, 12)]


class TestImmediateOrders:
    def test_fok_takes_all_or_nothing(self, market: Market) -> None:
        all_or_none = {"is_immediate": True, "is_all_or_none": True}
        script = [quote(9, 10, ask_size=10), order(1, shares=11, **all_or_none)]
        assert market(*script) == [("cancel", 1)]
        assert market(*script, order(2, shares=10, **all_or_none))[1:] == [("fill", 2, 10, 10)]

    def test_fok_counts_what_is_taken(self, market: Market) -> None:
        fok = order(2, shares=8, is_immediate=True, is_all_or_none=True)
        found = market(quote(9, 10, ask_size=10), order(1, shares=3), fok)
        assert found == [("fill", 1, 3, 10), ("cancel", 2)]

    def test_ioc_takes_what_there_is(self, market: Market) -> None:
        found = market(quote(9, 10, ask_size=4), order(1, is_immediate=True))
        assert found == [("fill", 1, 4, 10), ("cancel", 1)]


class TestAuctions:
    def test_everyone_who_accepts_the_price_trades_all_of_it(self, market: Market) -> None:
        found = market(
            order(1, bound=10, auction="open"),
            order(2, "sell", is_market=True, bound=0, auction="open"),
            order(3, bound=8, auction="open"),
            trade(9, size=1, auction="open"),
        )
        assert found == [("fill", 1, 10, 9), ("fill", 2, 10, 9), ("cancel", 3)]

    def test_an_auction_order_trades_nowhere_else(self, market: Market) -> None:
        waits = order(1, bound=10, auction="close")
        assert market(quote(8, 9), waits, quote(8, 9), trade(9), trade(9, auction="open")) == []


class TestHalts:
    HALT, RESUME = Halt(True), Halt(False)

    def test_who_rests_meets_the_standing_quote_when_a_halt_ends(self, market: Market) -> None:
        halted = [quote(9, 10), self.HALT, order(1, bound=10)]
        assert market(*halted) == []
        assert market(*halted, self.RESUME) == [("fill", 1, 10, 10)]

    def test_that_is_the_last_quote_of_the_halt(self, market: Market) -> None:
        halted = [quote(9, 10), self.HALT, order(1, bound=10), quote(7, 8), quote(10, 11)]
        assert market(*halted, self.RESUME) == []
        assert market(*halted, quote(8, 9), self.RESUME) == [("fill", 1, 10, 9)]

    def test_they_come_in_the_order_of_the_book_and_before_who_is_new(self, market: Market) -> None:
        found = market(
            *[quote(9, 10, ask_size=15), self.HALT, order(1, bound=10), order(2, bound=11)],
            *[self.RESUME, order(3, bound=12)],
        )
        assert found == [("fill", 2, 10, 10), ("fill", 1, 5, 10)]

    def test_nobody_gets_what_was_taken_before_the_halt(self, market: Market) -> None:
        script = [quote(9, 10, ask_size=4), order(1, bound=10), self.HALT, self.RESUME]
        assert market(*script) == [("fill", 1, 4, 10)]

    def test_a_trailing_stop_follows_it_and_a_stop_waits_for_a_trade(self, market: Market) -> None:
        trail, plain = trailing(1, "sell", 10, Trail(price=3)), stop(2, "sell", 8)
        halted = [quote(10, 11), trail, plain, self.HALT, trade(7), quote(7, 8)]
        assert market(*halted, self.RESUME) == [("trigger", 1), ("fill", 1, 10, 7)]

    def test_who_came_in_a_halt_gets_in_line_at_its_end(self, market: Market) -> None:
        script = [quote(9, 10, bid_size=3), self.HALT, order(1, bound=9), self.RESUME, quote(8, 9)]
        assert market(*script, trade(9, 5), model=QUEUE) == [("fill", 1, 2, 9)]


class TestQueue:
    """Model `queue`: a bid of 9 with 30 displayed before the order, then the ask comes to 9."""

    def reached(self, market: Market, *steps: Any) -> list[tuple[Any, ...]]:
        script = [quote(9, 10, bid_size=30), order(1, bound=9), quote(8, 9), *steps]
        return market(*script, model=QUEUE)

    def test_the_quote_alone_does_not_fill_who_stands_in_line(self, market: Market) -> None:
        assert self.reached(market) == []

    def test_trades_at_its_price_serve_those_before_it_first(self, market: Market) -> None:
        assert self.reached(market, trade(9, 20), trade(9, 10)) == []
        assert self.reached(market, trade(9, 20), trade(9, 14)) == [("fill", 1, 4, 9)]

    def test_a_trade_through_its_price_serves_all_of_it(self, market: Market) -> None:
        assert self.reached(market, trade(8, 1)) == [("fill", 1, 10, 9)]

    def test_a_trade_at_another_price_moves_nobody_up(self, market: Market) -> None:
        assert self.reached(market, trade(10, 500)) == []

    def test_what_is_reached_fills_after_the_market_has_left(self, market: Market) -> None:
        assert self.reached(market, quote(9, 11), trade(9, 40)) == [("fill", 1, 10, 9)]

    def test_who_betters_the_touch_stands_before_all(self, market: Market) -> None:
        script = [quote(8, 10, bid_size=30), order(1, bound=9), quote(8, 9)]
        assert market(*script, model=QUEUE) == [("fill", 1, 10, 9)]

    def test_who_is_deeper_lines_up_when_its_price_is_the_touch(self, market: Market) -> None:
        script = [quote(9, 10), order(1, bound=8), quote(8, 9, bid_size=5), quote(7, 8)]
        assert market(*script, model=QUEUE) == []
        assert market(*script, trade(8, 15), model=QUEUE) == [("fill", 1, 10, 8)]

    def test_two_orders_of_ours_share_one_trade(self, market: Market) -> None:
        script = [quote(9, 10, bid_size=5), order(1, bound=9), order(2, bound=9), quote(8, 9)]
        assert market(*script, trade(9, 20), model=QUEUE) == [
            ("fill", 1, 10, 9),
            ("fill", 2, 5, 9),
        ]

    def test_what_one_in_line_has_reached_is_gone_for_the_next(self, market: Market) -> None:
        script = [quote(9, 10, bid_size=30), order(1, bound=9), quote(8, 9, ask_size=10)]
        assert market(*script, order(2, bound=9), model=QUEUE) == []
        assert market(*script, order(2, shares=3, bound=10), model=QUEUE) == []

    def test_what_takes_at_once_stands_in_no_line(self, market: Market) -> None:
        found = market(quote(9, 10, ask_size=4), order(1, bound=10), model=QUEUE)
        assert found == [("fill", 1, 4, 10)]


@scripted
@given(scripts())
def test_the_floor_agrees_with_the_naive_one_under_nbbo(script: Script) -> None:
    assert RealMarket(NBBO).play(script) == NaiveMarket(NBBO).play(script)


@scripted
@given(scripts())
def test_the_floor_agrees_with_the_naive_one_under_instant(script: Script) -> None:
    assert RealMarket(INSTANT).play(script) == NaiveMarket(INSTANT).play(script)


@scripted
@given(scripts(sane=True))
def test_the_floor_agrees_with_the_naive_one_under_queue(script: Script) -> None:
    assert RealMarket(QUEUE).play(script) == NaiveMarket(QUEUE).play(script)


# --- the stricter model -------------------------------------------------------------------------

Units = dict[int, list[tuple[int, int, int]]]  # by order: up to which unit, at which step, price


def units(happened: list[Happening]) -> Units:
    """The fills of each order, by how much of it they bring the filled quantity to."""
    found: Units = {}
    for step, what, pk, quantity, price in happened:
        if what == "fill":
            fills = found.setdefault(pk, [])
            fills.append((quantity + (fills[-1][0] if fills else 0), step, price))
    return found


def fill_of(fills: list[tuple[int, int, int]], unit: int) -> tuple[int, int] | None:
    """Step and price at which a unit of the order was filled."""
    return next(((step, price) for up_to, step, price in fills if unit <= up_to), None)


@scripted
@given(scripts(amounts=False, sane=True))
@example(numbered([quote(9, 10, bid_size=3), order(1, bound=9), quote(8, 9), trade(8)]))
def test_queue_fills_no_share_earlier_or_better_than_nbbo(script: Script) -> None:
    sides = {step.pk: step.is_buy for step in script if isinstance(step, WorkingOrder)}
    loose, strict = units(under_nbbo(script)), units(RealMarket(QUEUE).play(script))
    for pk, fills in strict.items():
        for up_to, step, price in fills:
            other = fill_of(loose.get(pk, []), up_to)
            assert other is not None
            assert step >= other[0]
            assert price >= other[1] if sides[pk] else price <= other[1]


@scripted
@given(scripts(amounts=False, sane=True))
def test_nbbo_fills_no_share_earlier_than_instant_nor_at_a_better_touch(script: Script) -> None:
    loose, strict = units(RealMarket(INSTANT).play(script)), units(under_nbbo(script))
    for pk, fills in strict.items():
        for up_to, step, price in fills:
            other = fill_of(loose.get(pk, []), up_to)
            assert other is not None
            assert step >= other[0]
            assert step > other[0] or price == other[1]


def under_nbbo(script: Script) -> list[Happening]:
    return RealMarket(NBBO).play(script)
