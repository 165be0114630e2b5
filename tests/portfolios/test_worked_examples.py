"""Books worked out by hand, line by line: what a trader can check with a pencil.

A line is a side, a quantity, a price, a fee, and what it must realise. Amounts are USD.
"""

from __future__ import annotations

from decimal import Decimal

import pytest

from portfolios.lots import Choice
from portfolios.models import Account, Lot, LotMethod, Position
from portfolios.positions import Applied
from tests.portfolios.factories import assert_ledger_agrees, funded_account, new_york, trade

pytestmark = pytest.mark.django_db

MONDAY, TUESDAY = new_york("2024-03-04 12:00"), new_york("2024-03-05 12:00")


@pytest.fixture
def account() -> Account:
    return funded_account("100000")


def live(account: Account, *lines: tuple[str, str, str, str, str], method: str = "fifo") -> None:
    """Book the lines and compare what each realises."""
    for side, quantity, price, fee, realized in lines:
        choice = Choice(LotMethod(method))
        applied = trade(account, side, quantity, price, fee=fee, choice=choice)
        assert applied.realized == Decimal(realized), (side, quantity, price)


def assert_books(
    account: Account, *, cash: str, quantity: str = "0", cost: str = "0", realized: str
) -> Position:
    account.refresh_from_db()
    position = Position.objects.get(account=account)
    assert account.cash == Decimal(cash)
    assert position.quantity == Decimal(quantity)
    assert position.cost_basis == Decimal(cost)
    assert position.realized == Decimal(realized)
    assert_ledger_agrees(account)
    return position


def left(account: Account) -> list[tuple[str, str]]:
    """Price and quantity of the open lots, oldest first."""
    rows = Lot.objects.filter(account=account).order_by("pk")
    return [(f"{lot.price:f}"[:-5], f"{lot.quantity_left.normalize():f}") for lot in rows]


def test_two_round_trips_that_a_well_known_tracker_gets_wrong(account):
    live(
        account,
        ("buy", "20", "218.00", "16.00", "0"),
        ("sell", "20", "320.00", "16.18", "2007.82"),  # 6,400 − 4,360 − 16.00 − 16.18
        ("buy", "30", "290.00", "16.00", "0"),
        ("sell", "30", "321.00", "16.27", "897.73"),  # 9,630 − 8,700 − 16.00 − 16.27
    )
    assert_books(account, cash="102905.55", realized="2905.55")


# Three lots of 10 at 100, 130 and 110, each with 1.00 of fee; 15 are sold at 120 for 3.00.
BOUGHT = (
    ("buy", "10", "100", "1", "0"),
    ("buy", "10", "130", "1", "0"),
    ("buy", "10", "110", "1", "0"),
)


@pytest.mark.parametrize(
    ("method", "realized", "cost", "lots"),
    [
        # 1,800 − (1,000 + 650) − 3 − (1 + 0.50)
        ("fifo", "145.50", "1750", [("130", "5"), ("110", "10")]),
        # 1,800 − (1,100 + 650) − 3 − 1.50
        ("lifo", "45.50", "1650", [("100", "10"), ("130", "5")]),
        # 1,800 − (1,300 + 550) − 3 − 1.50
        ("hifo", "-54.50", "1550", [("100", "10"), ("110", "5")]),
    ],
)
def test_each_method_closes_its_own_lots(account, method, realized, cost, lots):
    live(account, *BOUGHT, ("sell", "15", "120", "3", realized), method=method)

    # 100,000 − 3,400 − 3 + 1,800 − 3
    assert_books(account, cash="98394", quantity="15", cost=cost, realized=realized)
    assert left(account) == lots


@pytest.mark.parametrize("method", ["fifo", "lifo", "hifo"])
def test_every_method_realises_the_same_once_all_is_sold(account, method):
    live(account, *BOUGHT, method=method)
    for quantity in ("7", "15", "8"):
        trade(account, "sell", quantity, "120", choice=Choice(LotMethod(method)))

    # 3,600 − 3,400 − 3, whatever the way there
    assert_books(account, cash="100197", realized="197")


def test_named_lots_go_first_in_their_order_and_then_the_oldest(account):
    first, second, third = (
        trade(account, "buy", "10", price, fee="1").opened for price in ("100", "130", "110")
    )
    assert first is not None
    assert second is not None
    assert third is not None
    choice = Choice(LotMethod.SPECIFIC, (third.execution_id, second.execution_id))

    applied = trade(account, "sell", "12", "120", fee="3", choice=choice)
    assert applied.realized == Decimal("75.80")  # 1,440 − 1,100 − 260 − 3 − 1 − 0.20
    assert left(account) == [("100", "10"), ("130", "8")]

    applied = trade(account, "sell", "9", "120", choice=choice)  # 8 of the second, 1 of the first
    assert applied.realized == Decimal("-60.90")  # 1,080 − 1,040 − 100 − 0.80 − 0.10
    assert left(account) == [("100", "9")]
    assert_ledger_agrees(account)


@pytest.mark.parametrize(
    ("method", "realized", "lots"),
    [
        # 600 − 570 − 0.30 − 0.60
        ("fifo", "29.10", [("120", "-4"), ("90", "-5")]),
        # 450 + 120 − 570 − 0.30
        ("lifo", "-0.30", [("100", "-6"), ("120", "-3")]),
        # 480 + 200 − 570 − 0.30 − 0.20
        ("hifo", "109.50", [("100", "-4"), ("90", "-5")]),
    ],
)
def test_shorts_are_covered_by_the_chosen_lots(account, method, realized, lots):
    live(
        account,
        ("sell", "6", "100", "0.60", "0"),
        ("sell", "4", "120", "0", "0"),
        ("sell", "5", "90", "0", "0"),
        ("buy", "6", "95", "0.30", realized),
        method=method,
    )
    assert left(account) == lots
    assert_ledger_agrees(account)


def test_a_sale_beyond_what_is_held_closes_and_opens_a_short(account):
    live(
        account,
        ("buy", "10", "100", "1", "0"),
        ("sell", "15", "110", "3", "97"),  # 1,100 − 1,000 − 2 − 1; the third dollar opens the short
        ("buy", "5", "104", "0.50", "28.50"),  # 550 − 520 − 0.50 − 1
    )
    assert_books(account, cash="100125.50", realized="125.50")


def test_thirds_of_a_lot_lose_nothing_to_rounding(account):
    live(
        account,
        ("buy", "3", "33.3333", "0.01", "0"),  # costs 99.9999
        ("sell", "1", "40", "0", "6.6634"),  # 40 − 33.3333 − 0.0033
        ("sell", "1", "40", "0", "6.6633"),  # 40 − 33.3333 − 0.0034: half of 0.0067, to even
        ("sell", "1", "40", "0", "6.6634"),
    )
    assert_books(account, cash="100019.9901", realized="19.9901")


def test_the_day_knows_which_lots_are_its_own_whatever_is_closed_first(account):
    trade(account, "buy", "10", "100", at=MONDAY)
    trade(account, "buy", "5", "90", at=TUESDAY)
    trade(account, "buy", "5", "130", at=TUESDAY)
    lifo, hifo = Choice(LotMethod.LIFO), Choice(LotMethod.HIFO)

    trade(account, "sell", "2", "120", at=TUESDAY, choice=lifo)
    position = Position.objects.get()
    assert (position.day_opened_quantity, position.day_opened_cost) == (Decimal(8), Decimal(840))

    trade(account, "sell", "4", "120", at=TUESDAY, choice=hifo)  # 3 at 130, and one of Monday's
    position.refresh_from_db()
    assert (position.day_opened_quantity, position.day_opened_cost) == (Decimal(5), Decimal(450))

    trade(account, "sell", "9", "120", at=TUESDAY)  # the oldest: the rest of Monday's
    position.refresh_from_db()
    assert (position.day_opened_quantity, position.day_opened_cost) == (Decimal(5), Decimal(450))
    assert_ledger_agrees(account)


def test_a_realised_profit_is_what_the_account_has_gained_when_it_holds_nothing(account):
    applied: list[Applied] = [
        trade(account, "buy", "0.333333333", "300", fee="0.02"),
        trade(account, "buy", "1.5", "301.27", fee="0.02"),
        trade(account, "sell", "1.833333333", "299.99", fee="0.05"),
    ]
    total = sum((one.realized for one in applied), Decimal(0))

    account.refresh_from_db()
    assert account.cash == Decimal(100000) + total
    assert_ledger_agrees(account)
