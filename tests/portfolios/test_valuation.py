from __future__ import annotations

from decimal import Decimal
from uuid import uuid4

from hypothesis import given
from hypothesis import strategies as st

from portfolios.margin import Terms, pack_on
from portfolios.models import Account, Lot, Position
from portfolios.positions import apply_execution, new_position
from portfolios.valuation import (
    AccountSummary,
    Holding,
    PositionView,
    mark,
    summarize,
    value_position,
)
from quotes.latest import Latest
from quotes.ticks import Quote, Trade
from tests.portfolios.factories import execution, new_york, trade_date

MONDAY, TUESDAY = new_york("2024-03-04 12:00"), new_york("2024-03-05 12:00")

sides = st.sampled_from(["buy", "sell"])
quantities = st.decimals(min_value=Decimal("0.01"), max_value=1000, places=9)
prices = st.decimals(min_value=1, max_value=1000, places=4)
fees = st.decimals(min_value=0, max_value=20, places=4)
lives = st.lists(st.tuples(sides, quantities, prices, fees), max_size=10)


def trade_on(at, life, account, position, lots: list[Lot]) -> None:
    for side, quantity, price, fee in life:
        one = execution(side, str(quantity), str(price), fee=str(fee), at=at)
        apply_execution(account, position, lots, one)


def on_tuesday(
    monday, tuesday, close: Decimal, price: Decimal
) -> tuple[PositionView, AccountSummary]:
    """The position and the account on Tuesday, after what was traded on both days."""
    account = Account(pk=1, cash=Decimal(10_000))
    position = new_position(1, 1, MONDAY)
    lots: list[Lot] = []
    trade_on(MONDAY, monday, account, position, lots)
    trade_on(TUESDAY, tuesday, account, position, lots)
    todays = [lot for lot in lots if lot.opened_at == TUESDAY]
    if tuesday:
        assert position.day_opened_quantity == sum(
            (lot.quantity_left for lot in todays), Decimal(0)
        )
        assert position.day_opened_cost == sum((lot.cost_left for lot in todays), Decimal(0))
    view = value_position(
        holding(position),
        latest=Latest(None, Trade("AAPL", 0, int(price * 10_000), 1)),
        previous_close=close,
        today=trade_date(TUESDAY),
    )
    terms = Terms(pack_on(trade_date(TUESDAY)), in_session=True)
    summary = summarize(account, [view], traded_today=bool(tuesday), terms=terms)
    return view, summary


def holding(position: Position) -> Holding:
    """What would be read of the position, had it been stored."""
    named = {"asset_id": uuid4(), "symbol": "AAPL", "exchange": "", "marginable": False}
    return Holding(**named, **{f: getattr(position, f) for f in Holding._fields if f not in named})


@given(lives, lives, prices, prices)
def test_the_days_profit_is_what_equity_gained_since_the_previous_close(
    monday, tuesday, close, price
):
    _, summary = on_tuesday(monday, tuesday, close, price)

    assert summary.day_pl == summary.equity - summary.last_equity


@given(lives, lives, prices, prices)
def test_equity_is_what_was_paid_in_and_all_profit_and_the_fees_of_open_lots(
    monday, tuesday, close, price
):
    view, summary = on_tuesday(monday, tuesday, close, price)

    open_fees = 10_000 + view.realized + view.unrealized_pl - summary.equity
    assert open_fees >= 0
    if view.quantity == 0:
        assert open_fees == 0


@given(lives, prices, prices)
def test_without_a_trade_today_the_day_is_the_move_since_the_close(monday, close, price):
    view, _ = on_tuesday(monday, [], close, price)

    assert view.day_pl == view.unrealized_intraday_pl
    assert abs(view.day_pl - view.quantity * (price - close)) <= Decimal("0.0001")


def test_half_a_quote_makes_no_price():
    one_sided = Quote("AAPL", 0, 0, 0, 100_0000, 1)

    assert mark(Latest(one_sided, None), None) is None
    assert mark(None, Decimal(3)) == Decimal(3)
