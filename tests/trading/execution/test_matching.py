"""Matching: the real sweep and a slow, obvious one pass the same tests."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from copy import copy
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quotes.amounts import QUANTITY_UNIT
from quotes.ticks import Quote
from trading.execution.book import SymbolBook
from trading.execution.matching import (
    UNTOUCHED,
    FillModel,
    Level,
    Match,
    Waiting,
    WorkingOrder,
    cash_of,
    give_back,
    is_within,
    match,
    roll,
    sweep,
    touch,
)
from trading.execution.side import rank

Fills = list[tuple[int, int, int]]  # (order's row id, quantity, price)
Matcher = Callable[[list[WorkingOrder], Quote, Level, FillModel], Fills]

DOLLAR = 10_000
SHARE = QUANTITY_UNIT


def order(
    pk: int = 1,
    *,
    buy: bool = True,
    bound: int = 100 * DOLLAR,
    leaves: int | None = 100 * SHARE,
    cash_left: int | None = None,
    market: bool = False,
) -> WorkingOrder:
    return WorkingOrder(
        pk=pk,
        public_id=uuid.UUID(int=pk),
        account_id=1,
        instrument_id=1,
        symbol="AAPL",
        is_buy=buy,
        is_market=market,
        bound=bound,
        leaves=None if cash_left is not None else leaves,
        cash_left=cash_left,
        expires_us=2**60,
    )


def quote(bid: int = 99, ask: int = 100, bid_size: int = 300, ask_size: int = 300) -> Quote:
    return Quote("AAPL", 1, bid * DOLLAR, bid_size, ask * DOLLAR, ask_size, sequence=1, epoch=1)


def level_of(a_quote: Quote, buy: bool = True, taken: int = 0) -> Level:
    price, displayed = touch(a_quote, buy)
    return Level(price, displayed, taken * SHARE)


def real(
    orders: list[WorkingOrder], a_quote: Quote, level: Level, model: FillModel = FillModel.NBBO
) -> Fills:
    """The sweep, fed by the book."""
    book = SymbolBook()
    for one in orders:
        book.side(one.is_buy).add(copy(one))
    fills, _ = sweep(book.side(orders[0].is_buy) if orders else [], a_quote, level, model)
    return [(filled.pk, found.quantity, found.price) for filled, found, _ in fills]


def naive(
    orders: list[WorkingOrder], a_quote: Quote, level: Level, model: FillModel = FillModel.NBBO
) -> Fills:
    """The rules, written down one after the other, in fractions of a share."""
    fills: Fills = []
    rest = Fraction(level.displayed) - Fraction(level.taken, SHARE)
    for one in sorted(orders, key=lambda one: (-one.bound if one.is_buy else one.bound, one.pk)):
        price = a_quote.ask if one.is_buy else a_quote.bid
        too_dear = one.is_buy and price > one.bound
        too_cheap = not one.is_buy and price < one.bound
        if price == 0 or too_dear or too_cheap or 0 < a_quote.ask < a_quote.bid:
            continue
        if one.leaves is not None:
            wanted = Fraction(one.leaves, SHARE)
        else:
            wanted = Fraction(one.cash_left * SHARE // price, SHARE)
        if model is FillModel.NBBO and wanted > rest:
            wanted = Fraction(max(int(rest), 0))
        exact = Decimal(int(wanted * SHARE)) * price / SHARE
        if wanted == 0 or exact.quantize(Decimal(1), ROUND_HALF_EVEN) == 0:
            continue
        rest -= wanted
        fills.append((one.pk, int(wanted * SHARE), price))
    return fills


@pytest.fixture(params=[real, naive], ids=["real", "naive"])
def fills(request: pytest.FixtureRequest) -> Matcher:
    return request.param


class TestMatching:
    """What every matcher does."""

    def test_a_buy_executes_at_the_ask_not_at_its_limit(self, fills: Matcher) -> None:
        a_quote = quote()
        found = fills([order(bound=105 * DOLLAR)], a_quote, level_of(a_quote), FillModel.NBBO)
        assert found == [(1, 100 * SHARE, 100 * DOLLAR)]

    def test_a_sell_executes_at_the_bid(self, fills: Matcher) -> None:
        a_quote = quote()
        one = order(buy=False, bound=0)
        found = fills([one], a_quote, level_of(a_quote, buy=False), FillModel.NBBO)
        assert found == [(1, 100 * SHARE, 99 * DOLLAR)]

    def test_no_more_than_displayed_less_what_is_taken(self, fills: Matcher) -> None:
        a_quote = quote(ask_size=70)
        found = fills([order()], a_quote, level_of(a_quote, taken=30), FillModel.NBBO)
        assert found == [(1, 40 * SHARE, 100 * DOLLAR)]

    def test_instant_fills_the_whole_quantity_at_the_touch(self, fills: Matcher) -> None:
        a_quote = quote(ask_size=1)
        found = fills([order()], a_quote, level_of(a_quote), FillModel.INSTANT)
        assert found == [(1, 100 * SHARE, 100 * DOLLAR)]

    def test_better_price_first_then_older_order(self, fills: Matcher) -> None:
        a_quote = quote(ask_size=150)
        orders = [order(3), order(2), order(1, bound=99 * DOLLAR), order(9, bound=101 * DOLLAR)]
        found = fills(orders, a_quote, level_of(a_quote), FillModel.NBBO)
        assert found == [(9, 100 * SHARE, 100 * DOLLAR), (2, 50 * SHARE, 100 * DOLLAR)]

    def test_locked_quotes_fill(self, fills: Matcher) -> None:
        a_quote = quote(bid=100, ask=100)
        assert fills([order()], a_quote, level_of(a_quote), FillModel.NBBO)

    def test_crossed_quotes_do_not(self, fills: Matcher) -> None:
        a_quote = quote(bid=101, ask=100)
        assert fills([order()], a_quote, level_of(a_quote), FillModel.NBBO) == []

    def test_an_empty_side_fills_nothing(self, fills: Matcher) -> None:
        a_quote = quote(ask=0, ask_size=0)
        assert fills([order()], a_quote, level_of(a_quote), FillModel.NBBO) == []

    def test_an_order_by_amount_buys_as_much_as_the_amount_pays(self, fills: Matcher) -> None:
        a_quote = quote(ask=300)
        one = order(bound=310 * DOLLAR, cash_left=100 * DOLLAR)
        found = fills([one], a_quote, level_of(a_quote), FillModel.NBBO)
        assert found == [(1, 333_333_333, 300 * DOLLAR)]

    def test_a_partial_fill_is_for_whole_shares(self, fills: Matcher) -> None:
        a_quote = quote(ask_size=2)
        level = Level(a_quote.ask, 2, SHARE // 2)
        found = fills([order(leaves=5 * SHARE // 2)], a_quote, level, FillModel.NBBO)
        assert found == [(1, SHARE, 100 * DOLLAR)]

    def test_a_small_order_takes_the_fraction_a_large_one_cannot(self, fills: Matcher) -> None:
        a_quote = quote(ask_size=1)
        level = Level(a_quote.ask, 1, SHARE // 2)
        orders = [order(1, leaves=5 * SHARE), order(2, leaves=SHARE // 4)]
        found = fills(orders, a_quote, level, FillModel.NBBO)
        assert found == [(2, SHARE // 4, 100 * DOLLAR)]

    def test_a_fill_worth_nothing_is_not_made(self, fills: Matcher) -> None:
        a_quote = quote()
        assert fills([order(leaves=1)], a_quote, level_of(a_quote), FillModel.NBBO) == []


# --- properties --------------------------------------------------------------------------------

prices = st.integers(1, 40)  # few, so that they meet
sizes = st.integers(0, 8)
quotes = st.builds(
    lambda bid, ask, bid_size, ask_size: Quote("AAPL", 1, bid, bid_size, ask, ask_size, 1, 1),
    st.integers(0, 40),
    st.integers(0, 40),
    sizes,
    sizes,
)
quantities = st.one_of(
    st.integers(1, 10).map(lambda shares: shares * SHARE), st.integers(1, 10 * SHARE)
)


@st.composite
def order_books(draw: st.DrawFn) -> tuple[bool, list[WorkingOrder]]:
    buy = draw(st.booleans())
    orders = []
    for pk in range(1, draw(st.integers(0, 8)) + 1):
        amount = draw(st.one_of(st.none(), st.integers(1, 400)))
        orders.append(
            order(
                pk,
                buy=buy,
                bound=draw(prices),
                leaves=draw(quantities),
                cash_left=amount,
                market=draw(st.booleans()),
            )
        )
    return buy, orders


@given(order_books(), quotes, sizes, st.sampled_from((FillModel.NBBO, FillModel.INSTANT)))
def test_the_sweep_agrees_with_the_obvious_matcher(
    book: tuple[bool, list[WorkingOrder]], a_quote: Quote, taken: int, model: FillModel
) -> None:
    buy, orders = book
    level = level_of(a_quote, buy, min(taken, touch(a_quote, buy)[1]))
    assert real(orders, a_quote, level, model) == naive(orders, a_quote, level, model)


@given(order_books(), quotes)
def test_never_more_than_displayed_nor_worse_than_the_bound(
    book: tuple[bool, list[WorkingOrder]], a_quote: Quote
) -> None:
    buy, orders = book
    by_pk = {one.pk: one for one in orders}
    found = real(orders, a_quote, level_of(a_quote, buy))
    assert sum(quantity for _, quantity, _ in found) <= touch(a_quote, buy)[1] * SHARE
    assert all(is_within(by_pk[pk].bound, price, buy) for pk, _, price in found)


@given(order_books(), quotes)
def test_fills_come_in_price_time_order(
    book: tuple[bool, list[WorkingOrder]], a_quote: Quote
) -> None:
    buy, orders = book
    by_pk = {one.pk: one for one in orders}
    ranks = [rank(by_pk[pk]) for pk, _, _ in real(orders, a_quote, level_of(a_quote, buy))]
    assert ranks == sorted(ranks)


@given(order_books(), quotes, sizes)
def test_a_stricter_market_never_fills_more(
    book: tuple[bool, list[WorkingOrder]], a_quote: Quote, taken: int
) -> None:
    """Less displayed size, and `nbbo` instead of `instant`, give no order more than before."""
    buy, orders = book
    displayed = touch(a_quote, buy)[1]
    whole = [one for one in orders if one.leaves is not None and one.leaves % SHARE == 0]
    generous = dict_of(real(whole, a_quote, level_of(a_quote, buy), FillModel.INSTANT))
    plain = dict_of(real(whole, a_quote, level_of(a_quote, buy)))
    strict = dict_of(real(whole, a_quote, level_of(a_quote, buy, min(taken, displayed))))
    for one in whole:
        assert strict.get(one.pk, 0) <= plain.get(one.pk, 0) <= generous.get(one.pk, 0)


def dict_of(found: Fills) -> dict[int, int]:
    return {pk: quantity for pk, quantity, _ in found}


@given(st.integers(1, 40), quantities, st.lists(st.tuples(prices, sizes), max_size=30))
def test_no_buy_costs_more_than_its_bound_was_worth(
    bound: int, quantity: int, asks: list[tuple[int, int]]
) -> None:
    held = -(-bound * quantity // SHARE)
    one = order(bound=bound, leaves=quantity)
    spent, level = 0, UNTOUCHED
    for number, (price, size) in enumerate(asks):
        level = roll(level, price, size)
        a_quote = Quote("AAPL", number, 0, 0, price, size)
        found, level = sweep([one] if one.leaves else [], a_quote, level)
        spent += sum(outcome.cash for _, outcome, _ in found)
    assert spent <= held


@given(st.integers(1, 4_000), st.lists(st.tuples(prices, sizes), max_size=30))
def test_an_order_by_amount_spends_at_most_its_amount(
    amount: int, asks: list[tuple[int, int]]
) -> None:
    one = order(bound=100, cash_left=amount)
    done = False
    spent = 0
    for price, size in asks:
        if done:
            break
        a_quote = Quote("AAPL", 1, 0, 0, price, size)
        found, _ = sweep([one], a_quote, level_of(a_quote))
        for _, outcome, finished in found:
            spent += outcome.cash
            done = finished
    assert spent == amount - one.cash_left
    assert 0 <= spent <= amount


# --- the level ---------------------------------------------------------------------------------


def test_growth_at_the_same_price_adds_fresh_size() -> None:
    assert roll(Level(10, 300, 200 * SHARE), 10, 500) == Level(10, 500, 200 * SHARE)


def test_shrinkage_caps_what_is_left() -> None:
    left = Level(10, 300, 200 * SHARE)  # 100 left
    assert roll(left, 10, 150) == Level(10, 150, 50 * SHARE)  # still 100
    assert roll(left, 10, 60) == Level(10, 60, 0)  # 60: no more than is displayed


def test_a_new_price_starts_at_zero() -> None:
    assert roll(Level(10, 300, 200 * SHARE), 11, 100) == Level(11, 100, 0)


@given(st.integers(0, 50), st.integers(0, 50), st.integers(0, 50))
def test_what_is_left_follows_the_displayed_size(displayed: int, taken: int, shown: int) -> None:
    taken = min(taken, displayed)
    left = displayed - taken
    after = roll(Level(10, displayed, taken * SHARE), 10, shown)
    expected = left + shown - displayed if shown >= displayed else min(left, shown)
    assert after.displayed - after.taken // SHARE == expected


def test_returned_size_is_free_again_only_at_its_price() -> None:
    level = Level(10, 300, 200 * SHARE)
    assert give_back(level, 10, 50 * SHARE).taken == 150 * SHARE
    assert give_back(level, 11, 50 * SHARE) == level


@pytest.mark.parametrize(
    ("one", "a_quote", "taken", "why"),
    [
        (order(bound=99 * DOLLAR), quote(), 0, Waiting.LIMIT),
        (order(bound=99 * DOLLAR, market=True), quote(), 0, Waiting.COLLAR),
        (order(), quote(bid=101), 0, Waiting.CROSSED),
        (order(), quote(ask=0), 0, Waiting.ONE_SIDED),
        (order(), quote(), 300 * SHARE, Waiting.SIZE),
        (order(leaves=1), quote(), 0, Waiting.WORTHLESS),
    ],
)
def test_waiting_has_a_reason(one: WorkingOrder, a_quote: Quote, taken: int, why: Waiting) -> None:
    assert match(one, a_quote, taken) == why


@given(st.integers(0, 10**14), st.integers(1, 10**11))
def test_cash_is_rounded_half_even_once(quantity: int, price: int) -> None:
    exact = Fraction(quantity * price, SHARE)
    assert cash_of(quantity, price) == round(exact)  # Python rounds half to even


def test_a_match_says_what_was_taken_before() -> None:
    found = match(order(), quote(), 30 * SHARE)
    assert isinstance(found, Match)
    assert found.taken_before == 30 * SHARE
