from __future__ import annotations

from decimal import Decimal

import pytest
from django.db import connection
from django.db.models import Max
from django.test import Client
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from access.keys import create_key
from portfolios.drill_down import Totals, position_ledger
from portfolios.errors import PositionNotFound
from portfolios.lots import Choice
from portfolios.models import Account, LotMethod, Position, Posting
from tests.portfolios.factories import (
    assert_ledger_agrees,
    funded_account,
    make_instrument,
    trade,
)

pytestmark = pytest.mark.django_db

lives = st.lists(
    st.tuples(
        st.sampled_from(["buy", "sell"]), st.integers(1, 20), st.integers(1, 90), st.integers(0, 2)
    ),
    min_size=1,
    max_size=12,
)


def pages(account: Account, limit: int) -> list[Totals]:
    """What every entry changed, read page by page."""
    changes: list[Totals] = []
    before = None
    while True:
        page = position_ledger(account.pk, make_instrument().pk, before=before, limit=limit)
        changes += [entry.change for entry in page.entries if entry.change]
        assert len(page.entries) <= limit
        if page.next is None:
            return changes
        before = page.next


def total(changes: list[Totals]) -> Totals:
    return Totals(*(sum(column, Decimal(0)) for column in zip(*changes, strict=True)))


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(life=lives, limit=st.integers(1, 5))
def test_the_changes_add_up_to_the_position_however_it_is_paged(life, limit):
    account = funded_account("100000")
    trade(account, "buy", "3", "5", instrument=make_instrument("IBM"))
    for side, quantity, price, fee in life:
        trade(account, side, str(quantity), str(price), fee=str(fee))

    changes = pages(account, limit)

    position = Position.objects.get(account=account, instrument=make_instrument())
    assert total(changes) == (position.quantity, position.cost_basis, position.realized)
    assert len(changes) == len(life)


def test_an_entry_shows_its_cash_fee_postings_and_what_it_left():
    account = funded_account("100000")
    trade(account, "buy", "20", "218", fee="16")
    trade(account, "sell", "20", "320", fee="16.18", choice=Choice(LotMethod.HIFO))

    sold, bought = position_ledger(account.pk, make_instrument().pk).entries

    assert (bought.cash, bought.fee, bought.change) == (-4360, 16, (20, 4360, 0))
    assert (sold.cash, sold.fee) == (6400, Decimal("16.18"))
    assert sold.change == (-20, -4360, Decimal("2007.82"))
    assert sold.after == (0, 0, Decimal("2007.82"))
    assert sold.lot_choice == ["hifo"]
    assert [(one.source, one.target) for one in sold.postings] == [
        ("street", "cash"),
        ("shares", "street"),
        ("cash", "fees"),
    ]


def test_what_was_never_held_has_no_ledger():
    with pytest.raises(PositionNotFound):
        position_ledger(funded_account().pk, make_instrument().pk)


def test_totals_that_were_changed_are_found():
    account = funded_account()
    trade(account, "buy", "1", "10")
    Posting.objects.exclude(instrument=None).update(realized_after=Decimal(1))

    with pytest.raises(AssertionError):
        assert_ledger_agrees(account)


def test_entries_booked_before_totals_were_kept_show_none():
    account = funded_account()
    trade(account, "buy", "1", "10")
    Posting.objects.update(quantity_after=None, cost_after=None, realized_after=None)
    trade(account, "buy", "1", "10")

    newer, older = position_ledger(account.pk, make_instrument().pk).entries

    assert (older.after, older.change, newer.change) == (None, None, None)
    assert newer.after == (2, 20, 0)
    assert_ledger_agrees(account)


def test_a_page_costs_the_same_queries_however_long_the_past():
    account = funded_account()

    def cost() -> int:
        instrument_id = make_instrument().pk
        with CaptureQueriesContext(connection) as captured:
            position_ledger(account.pk, instrument_id, limit=3)
        return len(captured)

    trade(account, "buy", "1", "10")
    few = cost()
    for _ in range(6):
        trade(account, "buy", "1", "10")

    assert cost() == few == 3


@pytest.mark.django_db(transaction=True)  # ANALYZE commits
def test_mysql_walks_a_page_along_the_index():
    if connection.vendor != "mysql":
        pytest.skip("EXPLAIN of MariaDB")
    account, other = funded_account("1000000"), funded_account("1000000")
    for n in range(40):
        trade(account, "buy", "1", "10", instrument=make_instrument(f"S{n % 4}"))
        trade(other, "buy", "1", "10", instrument=make_instrument("S1"))
    last = Posting.objects.aggregate(last=Max("transaction"))["last"]
    rows = Posting.objects.filter(
        account=account, instrument=make_instrument("S1"), transaction__lt=last
    ).order_by("-transaction")[:3]
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE TABLE portfolios_posting")
        cursor.execute(f"EXPLAIN {rows.query}")
        (plan,) = cursor.fetchall()
        columns = [column[0] for column in cursor.description]

    explained = dict(zip(columns, plan, strict=True))
    assert explained["key"] == "posting_of_shares"
    assert "filesort" not in explained["Extra"]


def test_the_api_answers_the_same_and_refuses_what_it_cannot_read():
    account = funded_account()
    trade(account, "buy", "2", "10", fee="0.5")
    trade(account, "sell", "1", "12")
    key, secret = create_key(account_id=account.pk, user=account.user, actor="test")
    client = Client(headers={"APCA-API-KEY-ID": key.key_id, "APCA-API-SECRET-KEY": secret})

    first = client.get("/v2/positions/AAPL/ledger", {"page_size": 1}).json()
    token = first["next_page_token"]
    second = client.get("/v2/positions/AAPL/ledger", {"page_size": 1, "page_token": token}).json()

    assert (first["symbol"], first["qty"], first["realized_pl"]) == ("AAPL", "1", "1.75")
    assert first["entries"][0]["change"] == {
        "qty": "-1", "cost_basis": "-10", "realized_pl": "1.75"
    }  # fmt: skip
    assert second["entries"][0]["postings"][1] == {
        "n": 2, "asset": "AAPL", "from": "street", "to": "shares", "amount": "2"
    }  # fmt: skip
    assert second["next_page_token"] is None
    assert client.get("/v2/positions/AAPL/ledger", {"page_token": "x"}).status_code == 422
    assert client.get("/v2/positions/NOPE/ledger").status_code == 404
