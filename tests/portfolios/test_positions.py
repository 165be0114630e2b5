from __future__ import annotations

from decimal import Decimal

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from portfolios import ledger, lot_rows, positions
from portfolios.errors import BoundExceeded
from portfolios.locks import lock_account
from portfolios.lots import Choice
from portfolios.models import Account, Lot, LotMethod, Position, Posting
from portfolios.positions import Execution, apply_execution, new_position
from quotes.amounts import CASH_PLACES, from_units
from tests.portfolios.factories import (
    assert_ledger_agrees,
    execution,
    funded_account,
    make_instrument,
    new_york,
    trade,
)
from tests.portfolios.model import Model


class Books:
    """One account and one instrument, in memory."""

    def __init__(self, cash: str = "100000") -> None:
        self.account = Account(pk=1, cash=Decimal(cash))
        self.position = new_position(1, 1, new_york("2024-03-05 09:30"))
        self.lots: list[Lot] = []
        self.postings: list[Posting] = []

    def apply(self, one: Execution) -> positions.Applied:
        applied = apply_execution(self.account, self.position, self.lots, one)
        self.postings += applied.postings
        return applied


def moves(postings: list[Posting]) -> list[tuple[int | None, str, str, int]]:
    return [(one.instrument_id, one.source, one.target, one.amount) for one in postings]


def test_buying_pays_the_street_the_shares_and_the_fee():
    books = Books()

    applied = books.apply(execution("buy", "10", "100", fee="1"))

    assert moves(applied.postings) == [
        (None, "cash", "street", 1000_0000),
        (1, "street", "shares", 10 * 10**9),
        (None, "cash", "fees", 1_0000),
    ]
    assert [(one.transaction, one.n) for one in applied.postings] == [(1, 1), (1, 2), (1, 3)]
    assert books.account.cash == Decimal(98999)
    assert books.position.cost_basis == Decimal(1000), "fees never enter the cost"


def test_selling_is_the_mirror_of_buying():
    books = Books()
    books.apply(execution("buy", "10", "100"))

    applied = books.apply(execution("sell", "10", "110", fee="1"))

    assert moves(applied.postings) == [
        (None, "street", "cash", 1100_0000),
        (1, "shares", "street", 10 * 10**9),
        (None, "cash", "fees", 1_0000),
    ]
    assert applied.realized == Decimal(99)


def test_selling_part_of_two_lots_keeps_the_younger_cost():
    books = Books()
    books.apply(execution("buy", "10", "100", fee="1"))
    books.apply(execution("buy", "10", "120", fee="1"))

    applied = books.apply(execution("sell", "15", "130", fee="2"))

    # 1,950 − 1,000 − 600 − 2 − 1 − 0.50
    assert applied.realized == Decimal("346.50")
    assert books.position.quantity == 5
    assert books.position.cost_basis == Decimal(600)
    assert [lot.fee_left for lot in books.lots] == [Decimal("0.50")]


def test_covering_a_short_realises_what_it_was_sold_for_less_what_it_cost():
    books = Books()
    opened = books.apply(execution("sell", "10", "100", fee="1"))

    applied = books.apply(execution("buy", "4", "90", fee="0.50"))

    assert opened.opened is not None
    assert applied.realized == Decimal("39.10")  # 400 − 360 − 0.50 − 0.40
    assert books.position.quantity == -6
    assert books.position.cost_basis == Decimal(-600)


def test_crossing_closes_first_and_opens_the_rest():
    books = Books()
    books.apply(execution("buy", "10", "100"))

    applied = books.apply(execution("sell", "15", "110", fee="3"))

    assert applied.realized == Decimal(98)  # 1,100 − 1,000, and two thirds of the fee
    assert applied.opened is not None
    assert applied.opened.quantity_left == -5
    assert applied.opened.cost_left == Decimal(-550)
    assert applied.opened.fee_left == Decimal(1)


@pytest.mark.parametrize(
    ("cash", "side", "quantity", "price"),
    [
        ("0", "buy", "1000000001", "0.01"),
        ("0", "sell", "1000000001", "0.01"),
        ("-9999999999999", "buy", "1", "2"),
    ],
)
def test_beyond_the_bounds_nothing_changes(cash, side, quantity, price):
    books = Books(cash)

    with pytest.raises(BoundExceeded):
        books.apply(execution(side, quantity, price))

    assert books.account.cash == Decimal(cash)
    assert books.account.transaction_sequence == 0
    assert books.position.quantity == 0


def test_the_first_execution_of_a_day_keeps_what_was_held_before_it():
    books = Books()
    books.apply(execution("buy", "10", "100", at=new_york("2024-03-05 10:00")))
    books.apply(execution("sell", "4", "110", fee="1", at=new_york("2024-03-06 10:00")))
    books.apply(execution("buy", "1", "105", at=new_york("2024-03-06 11:00")))

    assert books.position.day_open_quantity == 10
    assert books.position.day_flow == Decimal(440 - 1 - 105)
    assert books.account.day_open_cash == Decimal(99000)


sides = st.sampled_from(["buy", "sell"])
quantities = st.one_of(
    st.integers(1, 10_000).map(Decimal),
    st.decimals(min_value=Decimal("0.001"), max_value=1000, places=9),
)
prices = st.decimals(min_value=Decimal("0.1"), max_value=10_000, places=4)
fees = st.decimals(min_value=0, max_value=20, places=4)
methods = st.sampled_from([LotMethod.FIFO, LotMethod.LIFO, LotMethod.HIFO])
trades = st.lists(st.tuples(sides, quantities, prices, fees), min_size=1, max_size=30)


# Few prices, so that lots are equally dear; large quantities, so that a lot's price is its price.
whole = st.integers(1, 100).map(Decimal)
dear = st.sampled_from([Decimal(text) for text in ("9.99", "10", "10.01", "50")])
choosy = st.lists(st.tuples(sides, whole, dear, fees, methods), min_size=1, max_size=30)


@given(choosy)
def test_any_life_with_a_choice_of_lots_agrees_with_the_obvious_model(life):
    books, model = Books("0"), Model()

    for side, quantity, price, fee, method in life:
        choice = Choice(method)
        books.apply(execution(side, str(quantity), str(price), fee=str(fee), choice=choice))
        model.execute(side, quantity, price, fee, method)

        assert books.position.cost_basis == model.cost_basis
        assert books.position.realized == model.realized
        assert [(abs(lot.quantity_left), abs(lot.cost_left)) for lot in books.lots] == [
            (lot.quantity, lot.cost) for lot in model.lots
        ]


@given(trades)
def test_any_life_agrees_with_the_obvious_model(life):
    books, model = Books("0"), Model()

    for side, quantity, price, fee in life:
        books.apply(execution(side, str(quantity), str(price), fee=str(fee)))
        model.execute(side, quantity, price, fee)

        assert books.account.cash == model.cash
        assert books.position.quantity == model.quantity
        assert books.position.cost_basis == model.cost_basis
        assert books.position.realized == model.realized
        assert [(abs(lot.quantity_left), abs(lot.cost_left)) for lot in books.lots] == [
            (lot.quantity, lot.cost) for lot in model.lots
        ]


@given(trades)
def test_a_flat_account_has_realised_exactly_its_cash_flow(life):
    books = Books("0")
    for side, quantity, price, fee in life:
        books.apply(execution(side, str(quantity), str(price), fee=str(fee)))
    if books.position.quantity:
        side = "sell" if books.position.quantity > 0 else "buy"
        books.apply(execution(side, str(abs(books.position.quantity)), "50", fee="1"))

    assert books.lots == []
    assert books.position.cost_basis == 0
    assert books.position.realized == books.account.cash


@given(trades)
def test_postings_add_up_to_cash_and_shares(life):
    books = Books("0")
    for side, quantity, price, fee in life:
        books.apply(execution(side, str(quantity), str(price), fee=str(fee)))

    assert from_units(_sum(books.postings, None, "cash"), CASH_PLACES) == books.account.cash
    assert from_units(_sum(books.postings, 1, "shares"), 9) == books.position.quantity


def _sum(postings: list[Posting], instrument_id: int | None, own: str) -> int:
    of_asset = [one for one in postings if one.instrument_id == instrument_id]
    into = sum(one.amount for one in of_asset if one.target == own)
    return into - sum(one.amount for one in of_asset if one.source == own)


@pytest.mark.django_db
@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(life=st.lists(st.tuples(sides, quantities, prices, fees, methods), min_size=1, max_size=30))
def test_what_is_stored_can_be_rebuilt_from_the_ledger(life):
    account = funded_account("1000000")

    for side, quantity, price, fee, method in life:
        choice = Choice(method)
        trade(account, side, str(quantity), str(price), fee=str(fee), choice=choice)

    assert_ledger_agrees(account)


@pytest.mark.django_db
def test_a_batch_writes_each_lot_as_the_last_execution_left_it():
    account, instrument = funded_account(), make_instrument()
    trade(account, "buy", "10", "100")
    key = (account.pk, instrument.pk)
    with transaction.atomic():
        locked = lock_account(account.pk)
        position = positions.load_positions([key])[key]
        lots = lot_rows.load({key: Decimal(15)})[key]
        batch = [
            execution("buy", "5", "101", instrument_id=instrument.pk),
            execution("sell", "12", "102", instrument_id=instrument.pk),  # the stored lot, 2 of new
            execution("buy", "1", "103", instrument_id=instrument.pk),
            execution("sell", "3", "104", instrument_id=instrument.pk),  # the new lot is gone again
        ]
        applied = [apply_execution(locked, position, lots, one) for one in batch]
        positions.write([position], applied)
        ledger.save([locked])

    assert [lot.quantity_left for lot in Lot.objects.all()] == [Decimal(1)]
    assert Position.objects.get().quantity == 1
    assert_ledger_agrees(account)


@pytest.mark.django_db
def test_lots_of_other_accounts_and_instruments_stay_out():
    account, other = funded_account(), funded_account()
    apple, ibm = make_instrument("AAPL"), make_instrument("IBM")
    trade(account, "buy", "1", "10", instrument=apple)
    trade(account, "buy", "1", "10", instrument=ibm)
    trade(other, "buy", "1", "10", instrument=apple)
    wanted = {(account.pk, apple.pk), (other.pk, ibm.pk)}

    assert set(positions.load_positions(wanted)) == {(account.pk, apple.pk)}
    closing = dict.fromkeys(wanted, Decimal(1))
    assert {key: len(lots) for key, lots in lot_rows.load(closing).items()} == {
        (account.pk, apple.pk): 1,
        (other.pk, ibm.pk): 0,
    }


@pytest.mark.django_db
def test_a_batch_of_executions_costs_a_fixed_number_of_statements():
    accounts = [funded_account() for _ in range(4)]
    instrument = make_instrument()

    def settle(batch: list[Account]) -> int:
        keys = [(account.pk, instrument.pk) for account in batch]
        with (
            CaptureQueriesContext(
                connection,
            ) as captured,
            transaction.atomic(),
        ):
            known = positions.load_positions(keys)
            lots = lot_rows.load(dict.fromkeys(keys, Decimal(1)))
            applied = []
            for account, key in zip(batch, keys, strict=True):
                known.setdefault(key, new_position(*key, new_york("2024-03-05 10:00")))
                one = execution("buy", "1", "10", instrument_id=instrument.pk)
                applied.append(apply_execution(account, known[key], lots[key], one))
            positions.write(known.values(), applied)
            ledger.save(batch)
        return len(captured)

    assert settle(accounts[:1]) == settle(accounts[1:])
