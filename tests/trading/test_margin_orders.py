from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portfolios.configurations import configure
from portfolios.margin import INTRADAY, MARGIN, Margin, Stake, Terms, margin_of, pack_on
from portfolios.models import Account
from portfolios.queries import account_summary
from quotes.ticks import Quote
from tests.portfolios.factories import assert_books_balance, funded_account, trade
from tests.trading.floor import TradingFloor, now_of
from trading.errors import InsufficientBuyingPower, OrderRuleBroken, ShortingForbidden
from trading.models import OrderType, Side, TimeInForce
from trading.request import OrderRequest
from trading.risk import AccountView, MarketView, assess

DOLLAR = 10_000
TERMS = Terms(pack_on(date(2026, 11, 20)), in_session=True)
QUOTE = Quote("AAPL", 1, 99 * DOLLAR, 300, 100 * DOLLAR, 300, sequence=1)
OPEN = MarketView(symbol="AAPL", is_open=True, quote=QUOTE, last_price=100 * DOLLAR)
LIMIT_BUY = OrderRequest(
    symbol="AAPL",
    side=Side.BUY,
    type=OrderType.LIMIT,
    time_in_force=TimeInForce.DAY,
    quantity=Decimal(100),
    limit_price=Decimal(100),
)


def view(cash: str, *stakes: Stake, multiplier: int = MARGIN) -> AccountView:
    return AccountView(
        cash=Decimal(cash),
        hold_cash=Decimal(0),
        may_short=True,
        margin=margin(Decimal(cash), *stakes, multiplier=multiplier),
    )


def margin(cash: Decimal, *stakes: Stake, multiplier: int, held: Decimal = Decimal(0)) -> Margin:
    return margin_of(
        TERMS,
        multiplier=multiplier,
        cash=cash,
        hold_cash=held,
        short_cost=Decimal(0),
        stakes=stakes,
    )


def test_a_margin_buy_holds_half_of_its_worst():
    assessment = assess(LIMIT_BUY, view("10000"), OPEN)
    assert (assessment.hold.cash, assessment.margin_rate) == (Decimal(5000), Decimal("0.5"))


def test_the_refusal_tells_worths_of_orders():
    with pytest.raises(InsufficientBuyingPower) as refused:
        assess(replace(LIMIT_BUY, quantity=Decimal(201)), view("10000"), OPEN)
    assert refused.value.extras == {"buying_power": "20000", "cost_basis": "20100"}
    assert assess(replace(LIMIT_BUY, quantity=Decimal(200)), view("10000"), OPEN)


def test_what_is_not_marginable_is_paid_in_full():
    market = replace(OPEN, is_marginable=False)
    assert assess(LIMIT_BUY, view("10000"), market).hold.cash == 10000
    with pytest.raises(InsufficientBuyingPower) as refused:
        assess(replace(LIMIT_BUY, quantity=Decimal(101)), view("10000"), market)
    assert refused.value.extras == {"buying_power": "10000", "cost_basis": "10100"}


def test_a_share_below_2_50_is_paid_in_full_though_the_limit_is_above():
    cheap = replace(OPEN, quote=QUOTE._replace(bid=2_4000, ask=2_4000), last_price=2_4000)
    request = replace(LIMIT_BUY, limit_price=Decimal("2.60"))
    # 2.40 of the 2.60 a share: what it takes to hold one at the market.
    assert assess(request, view("10000"), cheap).hold.cash == Decimal("240.006")


@pytest.mark.parametrize(
    ("changes", "market", "rate"),
    [
        ({}, OPEN, "0.25"),
        ({"time_in_force": TimeInForce.IOC}, OPEN, "0.25"),
        ({"time_in_force": TimeInForce.GTC}, OPEN, "0.5"),
        ({"extended_hours": True}, OPEN, "0.5"),
        ({}, replace(OPEN, is_open=False), "0.5"),
    ],
)
def test_only_what_fills_in_this_session_is_opened_at_four_times(changes, market, rate):
    found = assess(replace(LIMIT_BUY, **changes), view("30000", multiplier=INTRADAY), market)
    assert found.margin_rate == Decimal(rate)


def test_a_buy_by_amount_holds_its_part():
    request = replace(
        LIMIT_BUY, type=OrderType.MARKET, limit_price=None, quantity=None, notional=Decimal(501)
    )
    assert assess(request, view("10000"), OPEN).hold.cash == Decimal("250.5")


@given(
    cash=st.decimals("-50000", "200000", places=2),
    held=st.integers(-300, 300).filter(bool),
    multiplier=st.sampled_from([MARGIN, INTRADAY]),
    quantity=st.integers(1, 2_000),
    limit=st.decimals("1", "300", places=2),
    side=st.sampled_from(list(Side)),
)
def test_what_is_accepted_never_leaves_the_excess_below_zero_at_its_price(
    cash, held, multiplier, quantity, limit, side
):
    """Another position of 100 USD shares stands beside it. A short is worth its hold price."""
    other = Stake(Decimal(held), Decimal(held * 100), True)
    account = view(str(cash), other, multiplier=multiplier)
    request = replace(LIMIT_BUY, side=side, quantity=Decimal(quantity), limit_price=limit)
    try:
        assessment = assess(request, account, OPEN)
    except (InsufficientBuyingPower, ShortingForbidden, OrderRuleBroken):
        return

    price = assessment.hold_price or limit
    signed = Decimal(quantity if side == Side.BUY else -quantity)
    filled = margin(
        cash - signed * price,
        other,
        Stake(signed, signed * price, True),
        multiplier=multiplier,
    )
    assert filled.excess >= -Decimal("0.0001")
    assert not filled.is_short_of_maintenance


@pytest.mark.django_db
class TestOnTheFloor:
    @pytest.fixture
    def floor(self) -> TradingFloor:
        floor = TradingFloor()
        floor.show("99", "100")
        return floor

    @pytest.fixture
    def account(self) -> Account:
        account = funded_account("10000")
        return configure(
            account_id=account.pk, changes={"max_margin_multiplier": "2"}, actor="test"
        )

    def power(self, account: Account) -> Decimal:
        return account_summary(Account.objects.get(pk=account.pk)).buying_power

    def test_what_the_screen_shows_is_what_can_be_bought(self, floor, account):
        floor.buy(account, "50", limit="99.99")
        shown = self.power(account)
        assert shown == Decimal("15000.50")

        most = (shown / 50).quantize(Decimal("0.01"))
        with pytest.raises(InsufficientBuyingPower) as refused:
            floor.buy(account, "50", limit=str(most + Decimal("0.01")))
        assert refused.value.extras["buying_power"] == "15000.5"
        floor.buy(account, "50", limit=str(most))
        assert self.power(account) == 0
        assert_books_balance(account)

    def test_a_position_bought_on_credit_leaves_the_same_power(self, floor, account):
        floor.buy(account, "150", limit="100")
        before = self.power(account)
        floor.prints("100")
        floor.pass_time(seconds=1)

        account.refresh_from_db()
        assert account.cash == -5000
        assert account.hold_cash == 0
        assert self.power(account) == before == 5000
        assert_books_balance(account)

    def test_a_fallen_price_is_counted_when_the_next_order_comes(self, floor, account):
        trade(account, "buy", "150", "100", instrument=floor.instrument)
        floor.prints("90")

        # Equity 8,500, half of 13,500 needed: 1,750 left.
        assert self.power(account) == 3500
        with pytest.raises(InsufficientBuyingPower) as refused:
            floor.buy(account, "36", limit="100")
        assert refused.value.extras["buying_power"] == "3500"

    def test_selling_frees_what_the_position_needed(self, floor, account):
        trade(account, "buy", "150", "100", instrument=floor.instrument)
        floor.prints("100")
        order = floor.sell(account, "150")
        floor.pass_time(seconds=1)

        assert now_of(order).status == "filled"
        assert self.power(account) == 2 * (10000 - 150)  # sold at the bid of 99
