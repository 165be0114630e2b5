from __future__ import annotations

import random
from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portfolios.configurations import configure
from portfolios.errors import InsufficientMargin
from portfolios.margin import INTRADAY, MARGIN, Margin, Stake, Terms, margin_of, pack_on
from portfolios.models import Account, Position
from portfolios.queries import account_summary
from quotes.ticks import Quote
from tests.portfolios.factories import assert_books_balance, funded_account, margin_account, trade
from tests.trading.floor import TradingFloor, now_of
from trading.errors import (
    InsufficientBuyingPower,
    InsufficientQuantity,
    OrderRuleBroken,
    ShortingForbidden,
    WashTrade,
)
from trading.models import OrderType, Side, TimeInForce
from trading.orders import cancel_all
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

    def test_what_open_orders_hold_was_reckoned_with_the_multiplier_of_their_day(self, floor):
        account = margin_account("30000", multiplier="4")
        floor.buy(account, "100", limit="90")

        with pytest.raises(InsufficientMargin, match="cancel the open orders") as refused:
            configure(account_id=account.pk, changes={"max_margin_multiplier": "2"}, actor="test")
        assert refused.value.extras == {"held": "2250"}
        cancel_all(account_id=account.pk, actor="test")
        configure(account_id=account.pk, changes={"max_margin_multiplier": "2"}, actor="test")

    def test_selling_frees_what_the_position_needed(self, floor, account):
        trade(account, "buy", "150", "100", instrument=floor.instrument)
        floor.prints("100")
        order = floor.sell(account, "150")
        floor.pass_time(seconds=1)

        assert now_of(order).status == "filled"
        assert self.power(account) == 2 * (10000 - 150)  # sold at the bid of 99

    @pytest.mark.parametrize("seed", range(6))
    @pytest.mark.parametrize("multiplier", ["2", "4"])
    def test_a_random_life_at_one_price_never_needs_more_than_there_is(self, seed, multiplier):
        """Everything trades at 100, so equity stays and only what is opened can go wrong."""
        floor, chance = TradingFloor(), random.Random(seed)
        floor.prints("100")
        floor.show("100", "100", bid_size=10**6, ask_size=10**6)
        account = funded_account("30000")
        configure(
            account_id=account.pk, changes={"max_margin_multiplier": multiplier}, actor="test"
        )
        placed = 0
        for _ in range(25):
            side, size = chance.choice(["buy", "sell"]), chance.randint(1, 250)
            limit = chance.choice(["100", "100", "90", "112"])
            try:
                floor.place(account, side, str(size), limit=limit)
                placed += 1
            except (InsufficientBuyingPower, InsufficientQuantity, WashTrade):
                pass
            if chance.random() < 0.5:
                floor.pass_time(seconds=1)
            if chance.random() < 0.4:
                cancel_all(account_id=account.pk, actor="test")
            margin = account_summary(Account.objects.get(pk=account.pk)).margin
            assert margin.equity == 30000
            assert margin.excess >= 0
        assert placed >= 5
        self.the_power_shown_buys_exactly_so_much(floor, account)
        assert_books_balance(account)

    def the_power_shown_buys_exactly_so_much(self, floor, account):
        cancel_all(account_id=account.pk, actor="test")
        held = Position.objects.filter(account=account).exclude(quantity=0).first()
        side = "sell" if held and held.quantity < 0 else "buy"  # the way that opens
        price = Decimal(100) if side == "buy" else Decimal(103)
        rate = Decimal("0.30") if side == "sell" and account_leverage(account) == 4 else None
        shown = self.power(account)
        most = int((shown if rate is None else shown / 4 / rate) / price)
        with pytest.raises(InsufficientBuyingPower):
            floor.place(account, side, str(most + 1), limit="100")
        if most:
            floor.place(account, side, str(most), limit="100")


def account_leverage(account: Account) -> int:
    return account_summary(Account.objects.get(pk=account.pk)).margin.leverage
