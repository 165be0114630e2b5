"""The connection is lost during COMMIT, before it, or with everything: what the client hears is
what became of its order, and it never becomes two."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from django.db import OperationalError, close_old_connections, connection, transaction
from django.test import Client

from events import log
from events.models import Event
from events.transactions import CommitLost
from portfolios import accounts
from portfolios.models import Account
from tests.people import Trader, a_trader
from tests.portfolios.factories import assert_books_balance
from tests.races.wire import Break, Wire
from tests.trading.floor import TradingFloor, now_of
from trading import orders
from trading.models import Fill, Order

pytestmark = pytest.mark.django_db(transaction=True)

COMMITTED = [Break.ANSWER_LOST]
NOT_COMMITTED = [Break.NOT_SENT, Break.NOT_SENT_IN_SILENCE]
UNSTORED = {"code": 50310000, "message": "service unavailable, nothing was stored"}
UNKNOWN = {
    "code": 50310000,
    "message": "service unavailable, it is not known whether this was stored",
}


@pytest.fixture
def trader(floor: TradingFloor) -> Trader:
    return a_trader()


@pytest.fixture
def account(trader: Trader) -> Account:
    return trader.account


@pytest.fixture
def client(trader: Trader) -> Client:
    """Has made a request, so that nothing but the next one's own work is left to do."""
    client = trader.client()
    assert client.get("/v2/account").status_code == 200
    return client


@pytest.fixture
def wire() -> Iterator[Wire]:
    """What this thread's connection to the database goes through."""
    if connection.vendor != "mysql":
        pytest.skip("NO LOST COMMITS on SQLite: set DATABASE_URL to a MariaDB or MySQL")
    address = connection.settings_dict
    before = address["HOST"], address["PORT"]
    wire = Wire(address["HOST"], int(address["PORT"]))
    connection.close()
    address["HOST"], address["PORT"] = "127.0.0.1", wire.port
    try:
        yield wire
    finally:
        wire.close()
        connection.close()
        address["HOST"], address["PORT"] = before


_told_of: list[set[int]] = []


def note_accounts(account_ids: frozenset[int]) -> None:
    _told_of.append(set(account_ids))


@pytest.fixture
def told_of(settings: Any) -> Iterator[list[set[int]]]:
    """The accounts that the after-commit hook has heard of, commit by commit."""
    log._after_commit.cache_clear()
    settings.AFTER_COMMIT = f"{__name__}.note_accounts"
    _told_of.clear()
    yield _told_of
    log._after_commit.cache_clear()


def place(client: Client, headers: dict[str, str] | None = None, **changes: Any) -> Any:
    body = {"symbol": "AAPL", "qty": "1", "side": "buy", "type": "limit", "limit_price": "90"}
    body |= {"time_in_force": "day", "client_order_id": "once", **changes}
    return client.post(
        "/v2/orders", json.dumps(body), content_type="application/json", headers=headers
    )


def kinds(account: Account) -> list[str]:
    events = Event.objects.filter(account_id=account.pk).order_by("account_sequence")
    return [kind.rpartition(".")[2] for kind in events.values_list("kind", flat=True)]


def test_a_committed_order_is_answered_with_once(
    wire: Wire, client: Client, account: Account, told_of: list[set[int]]
) -> None:
    wire.break_at("COMMIT", Break.ANSWER_LOST)
    answer = place(client)

    assert wire.broken.is_set()
    assert answer.status_code == 200
    assert told_of == [{account.pk}]
    order = Order.objects.get()
    assert (answer.json()["id"], answer.json()["client_order_id"]) == (str(order.public_id), "once")
    assert kinds(account)[-1] == "accepted"
    assert place(client).json()["code"] == 40010001  # its id is taken, as after any answer
    assert_books_balance(account)


@pytest.mark.parametrize("how", NOT_COMMITTED)
def test_an_order_whose_commit_never_came_is_503_and_not_stored(
    wire: Wire, client: Client, account: Account, how: Break
) -> None:
    before = kinds(account)
    wire.break_at("COMMIT", how)
    answer = place(client)

    assert wire.broken.is_set()
    assert (answer.status_code, answer.json()) == (503, UNSTORED)
    assert not Order.objects.exists()
    assert kinds(account) == before
    assert place(client).status_code == 200  # at once: the server holds no lock for the lost one
    assert_books_balance(account)


def test_an_order_whose_commit_meets_the_end_of_the_connection_is_stored_or_it_is_503(
    wire: Wire, client: Client, account: Account
) -> None:
    """The server may read the COMMIT before it sees that nobody is there, or may not."""
    for number in range(20):
        wire.break_at("COMMIT", Break.HUNG_UP)
        answer = place(client, client_order_id=str(number))

        stored = Order.objects.filter(client_order_id=str(number)).count()
        assert (answer.status_code, stored) in ((200, 1), (503, 0))
    assert_books_balance(account)


@pytest.mark.parametrize("statement", ["SELECT", "BEGIN; SELECT", "INSERT INTO `trading_order`"])
@pytest.mark.parametrize("how", [Break.ANSWER_LOST, *NOT_COMMITTED])
def test_a_connection_lost_earlier_stores_nothing(
    wire: Wire, client: Client, account: Account, statement: str, how: Break
) -> None:
    before = kinds(account)
    wire.break_at(statement, how)
    answer = place(client)
    close_old_connections()  # as the end of a request does, outside of tests

    assert wire.broken.is_set()
    assert (answer.status_code, answer.json()) == (503, UNSTORED)
    assert not Order.objects.exists()
    assert kinds(account) == before
    assert_books_balance(account)


@pytest.mark.parametrize(("how", "stored"), [(Break.ANSWER_LOST, 1), (Break.NOT_SENT, 0)])
def test_where_the_database_cannot_be_asked_nothing_is_claimed(
    wire: Wire, client: Client, account: Account, how: Break, stored: int
) -> None:
    wire.break_at("COMMIT", how, shut=True)
    answer = place(client)
    wire.mend()

    assert (answer.status_code, answer.json()) == (503, UNKNOWN)
    assert "Retry-After" in answer.headers
    found = client.get("/v2/orders:by_client_order_id", {"client_order_id": "once"})
    assert found.status_code == (200 if stored else 404)
    assert Order.objects.count() == stored
    assert_books_balance(account)


def test_whoever_named_a_key_finds_out_by_asking_again(
    wire: Wire, client: Client, account: Account
) -> None:
    wire.break_at("COMMIT", Break.ANSWER_LOST, shut=True)
    unknown = place(client, headers={"Idempotency-Key": "once"})
    assert (unknown.status_code, unknown.json()) == (503, UNKNOWN)

    wire.mend()
    again = place(client, headers={"Idempotency-Key": "once"})
    assert (again.status_code, again.headers["Idempotent-Replayed"]) == (200, "true")
    assert again.json()["id"] == str(Order.objects.get().public_id)
    assert_books_balance(account)


@pytest.mark.parametrize("how", [*COMMITTED, *NOT_COMMITTED])
def test_a_cancel_is_answered_by_what_became_of_it(
    wire: Wire, client: Client, account: Account, how: Break
) -> None:
    order_id = place(client).json()["id"]
    wire.break_at("COMMIT", how)
    answer = client.delete(f"/v2/orders/{order_id}")

    committed = how in COMMITTED
    assert answer.status_code == (204 if committed else 503)
    assert Order.objects.get().status == ("canceled" if committed else "accepted")
    assert kinds(account).count("canceled") == committed
    again = client.delete(f"/v2/orders/{order_id}")
    assert again.status_code == (422 if committed else 204)
    assert_books_balance(account)


@pytest.mark.parametrize("how", [*COMMITTED, *NOT_COMMITTED])
def test_all_orders_are_canceled_or_none_is(
    wire: Wire, client: Client, account: Account, how: Break
) -> None:
    for number in range(3):
        place(client, client_order_id=str(number))
    wire.break_at("COMMIT", how)
    answer = client.delete("/v2/orders")

    if how in COMMITTED:
        assert [one["status"] for one in answer.json()] == [200] * 3
    else:
        assert (answer.status_code, answer.json()) == (503, UNSTORED)
    assert kinds(account).count("canceled") == (3 if how in COMMITTED else 0)
    assert_books_balance(account)


def test_cash_is_paid_in_once(wire: Wire, account: Account) -> None:
    wire.break_at("COMMIT", Break.ANSWER_LOST)
    paid = accounts.deposit(account_id=account.pk, amount=Decimal(500), actor="test")

    assert paid.cash == Decimal(100_500)
    account.refresh_from_db()
    assert account.cash == Decimal(100_500)
    assert_books_balance(account)


def test_a_transaction_without_an_event_claims_nothing(wire: Wire, floor: TradingFloor) -> None:
    wire.break_at("COMMIT", Break.ANSWER_LOST)
    with pytest.raises(CommitLost), transaction.atomic():
        floor.instrument.save()

    floor.instrument.refresh_from_db()  # and the connection is of use again


@pytest.mark.parametrize(
    ("how", "shut"),
    [
        *((how, False) for how in (*COMMITTED, *NOT_COMMITTED)),
        *((how, True) for how in (Break.ANSWER_LOST, Break.NOT_SENT)),
    ],
)
def test_a_settlement_whose_commit_is_lost_fills_once(
    wire: Wire, floor: TradingFloor, account: Account, how: Break, shut: bool
) -> None:
    """Admission and fill are one batch; what is not known to be settled is settled again."""
    order = floor.buy(account, "3", limit="100")
    engine = floor.engine
    engine.admissions.admit_accepted(set())
    assert len(engine.pending) == 2
    wire.break_at("COMMIT", how, shut=shut)

    if how in COMMITTED and not shut:
        engine.drain()
    else:
        with pytest.raises(OperationalError):
            engine.drain()
        assert len(engine.pending) == 2
        wire.mend()
        engine.drain()

    assert wire.broken.is_set()
    assert now_of(order).status == "filled"
    assert Fill.objects.count() == 1
    assert kinds(account)[-3:] == ["accepted", "new", "fill"]
    assert_books_balance(account)


def test_an_ending_whose_commit_is_lost_ends_the_order_once(
    wire: Wire, floor: TradingFloor, account: Account
) -> None:
    order = floor.buy(account, "1", limit="90", time_in_force="ioc")
    engine = floor.engine
    engine.admissions.admit_accepted(set())
    wire.break_at("COMMIT", Break.ANSWER_LOST, shut=True)
    with pytest.raises(OperationalError):
        engine.drain()
    wire.mend()
    engine.drain()

    assert now_of(order).status == "canceled"
    assert kinds(account).count("canceled") == 1
    assert_books_balance(account)


def test_an_expiry_whose_commit_is_lost_happens_once(
    wire: Wire, floor: TradingFloor, account: Account
) -> None:
    order = floor.buy(account, "1", limit="90")
    assert order.expires_at is not None
    wire.break_at("COMMIT", Break.ANSWER_LOST)

    assert [one.pk for one in orders.expire_due(order.expires_at)] == [order.pk]
    assert now_of(order).status == "expired"
    assert orders.expire_due(order.expires_at) == []
    assert_books_balance(account)
