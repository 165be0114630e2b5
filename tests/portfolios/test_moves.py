"""What transactions of some days did, added up in blocks that are kept."""

from __future__ import annotations

from collections import Counter
from datetime import date, timedelta
from typing import Any

import pytest
from django.core.cache import caches
from django.db import connection
from django.test.utils import CaptureQueriesContext

from benchmarks.busy_account import trade_a_lot
from events.errors import Unavailable
from portfolios import moves
from portfolios.models import Account, Ledger, Posting
from portfolios.moves import Moved
from quotes.ticks import MICROSECONDS, to_micros
from tests.people import a_trader
from tests.portfolios.factories import make_instrument, trade
from tests.portfolios.market import set_market_time
from tests.trading.floor import NOON

pytestmark = pytest.mark.django_db

BLOCK = 16
OWN = (Ledger.CASH, Ledger.SHARES)
TODAY = date(2013, 10, 7)
LATER = timedelta(minutes=5)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moves, "BLOCK", BLOCK)


def busy_account(fills: int = 200) -> Account:
    """With so many fills at noon, and one five minutes later."""
    set_market_time(NOON)
    account = a_trader(cash="1000000").account
    account.refresh_from_db()
    traded = [make_instrument(f"S{n}") for n in range(4)]
    trade_a_lot(account, traded, fills, NOON)
    trade(account, "buy", "2", "10", at=NOON + LATER, instrument=traded[0])
    account.refresh_from_db()
    return account


def told(account: Account, step: int = 60) -> list[Moved]:
    return moves.moves(account, TODAY, TODAY, step)


def added_up(account: Account, step: int = 60) -> Counter[tuple[int, int | None]]:
    """The same, posting by posting."""
    sums: Counter[tuple[int, int | None]] = Counter()
    for one in Posting.objects.filter(account=account):
        at = to_micros(one.at) // MICROSECONDS
        sign = 1 if one.target in OWN else -1 if one.source in OWN else 0
        sums[at - at % step, one.instrument_id] += sign * one.amount
    return Counter({key: amount for key, amount in sums.items() if amount})


def statements(account: Account) -> int:
    """About postings, for one question."""
    with CaptureQueriesContext(connection) as captured:
        told(account)
    return len([one for one in captured if "portfolios_posting" in one["sql"]])


@pytest.mark.parametrize("step", [60, 3600])
def test_kept_sums_are_those_of_the_postings(step: int) -> None:
    account = busy_account()
    for _ in range(2):
        found = told(account, step)
        assert {(one.start, one.instrument_id): one.amount for one in found} == added_up(
            account, step
        )
        assert [one.start for one in found] == sorted(one.start for one in found)
        # What is not in a full block yet is read anew.
        trade(account, "sell", "1", "10", at=NOON + LATER, instrument=make_instrument("S0"))
        account.refresh_from_db()


def test_full_blocks_are_added_up_once_however_many_there_are() -> None:
    few, many = busy_account(4 * BLOCK), busy_account(40 * BLOCK)
    assert (statements(few), statements(many)) == (2, 2)  # the blocks, and what is in none
    assert (statements(few), statements(many)) == (1, 1)


def test_many_blocks_are_added_up_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    account = busy_account()
    at_once = told(account)
    caches["quotes"].clear()
    monkeypatch.setattr(moves, "BLOCKS_PER_STATEMENT", 5)
    assert statements(account) == 4  # 12 full blocks
    assert told(account) == at_once


def test_accounts_have_sums_of_their_own() -> None:
    one, other = busy_account(), busy_account(100)
    told(one)
    assert {(each.start, each.instrument_id): each.amount for each in told(other)} == added_up(
        other
    )


def test_a_block_that_the_database_does_not_have_whole_is_not_kept() -> None:
    account = busy_account()
    account.transaction_sequence += 2 * BLOCK  # as a replica that lags knows less than the account
    with pytest.raises(Unavailable):
        told(account)
    account.refresh_from_db()
    assert {(one.start, one.instrument_id): one.amount for one in told(account)} == added_up(
        account
    )


@pytest.mark.django_db(transaction=True)  # ANALYZE commits
@pytest.mark.skipif(connection.vendor != "mysql", reason="asks MySQL for its plan")
def test_sums_are_a_walk_along_the_key_of_the_postings() -> None:
    account = busy_account(1_000)
    statement, values = moves.sums_statement("mysql", account.pk, [(100, 120), (990, 1_000)])
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE TABLE portfolios_posting")
        cursor.fetchall()
        cursor.execute(f"EXPLAIN {statement}", values)
        (plan,) = cursor.fetchall()
        explained: dict[str, Any] = dict(
            zip([one[0] for one in cursor.description], plan, strict=True)
        )
    assert (explained["key"], explained["type"]) == ("posting_transaction_n", "range")
    assert int(explained["rows"]) < 200
