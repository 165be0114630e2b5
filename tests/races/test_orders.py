"""Requests that meet on one account: exactly one outcome, whoever comes first."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest
from django.db import connection

from config.api import answer_error
from events.errors import OpenbellError, Unavailable
from events.models import Event
from portfolios.configurations import configure
from portfolios.models import Account
from tests.meeting import WAIT_SECONDS_MAX, LockedAccount, only_with_row_locks, together
from tests.portfolios.factories import assert_books_balance, funded_account
from tests.trading.floor import TradingFloor, now_of
from tests.waiting import eventually
from trading import client_ids, locks, orders
from trading.errors import AccountBlocked, AccountBusy
from trading.execution import settlement
from trading.kill_switch import stop_trading
from trading.models import Fill, Order

pytestmark = pytest.mark.django_db(transaction=True)

ROUNDS = 10


def test_of_a_hundred_equal_client_order_ids_one_wins(
    floor: TradingFloor, account: Account
) -> None:
    def place() -> Order:
        return floor.buy(account, "1", limit="90", client_order_id="once")

    outcomes = together(*[place] * 100)
    answers = Counter(200 if isinstance(outcome, Order) else outcome.code for outcome in outcomes)
    assert answers[200] == 1, answers
    assert set(answers) <= {200, 40010001, AccountBusy.code, Unavailable.code}, answers
    assert Order.objects.count() == 1
    assert_books_balance(account)


def test_the_unique_index_decides_where_the_queue_does_not(
    floor: TradingFloor, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As between processes, of which each has its own queue; and as if the check came too early."""
    monkeypatch.setattr(locks, "WAITING_MAX", 1_000)
    truth = client_ids.is_taken
    mine = threading.local()

    def too_early(account_id: int, client_order_id: str) -> bool:
        """Each thread's first look finds the id free, whatever it is."""
        looked, mine.looked = getattr(mine, "looked", False), True
        return looked and truth(account_id, client_order_id)

    monkeypatch.setattr(client_ids, "is_taken", too_early)

    def place() -> Order:
        return floor.buy(account, "1", limit="90", client_order_id="once")

    outcomes = together(*[place] * 4)
    codes = [outcome.code for outcome in outcomes if isinstance(outcome, OpenbellError)]
    assert codes == [40010001] * 3
    assert Order.objects.count() == 1
    assert_books_balance(account)


def test_concurrent_buys_never_share_their_cash(
    floor: TradingFloor, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "WAITING_MAX", 1_000)
    outcomes = together(*[lambda: floor.buy(account, "30", limit="100")] * 8)
    placed = [outcome for outcome in outcomes if isinstance(outcome, Order)]
    assert len(placed) == 3
    account.refresh_from_db()
    assert account.hold_cash == Decimal(9_000)
    assert_books_balance(account)


def test_cancel_and_fill_end_an_order_once(floor: TradingFloor, account: Account) -> None:
    ends = Counter[str]()
    for _ in range(ROUNDS):
        floor.show("99", "100")
        order = floor.buy(account, "1", limit="98")
        floor.pass_time(seconds=1)
        resting = now_of(order)
        assert resting.status == "new"
        together(
            lambda: floor.show("96", "97"),
            lambda order=order: orders.cancel(
                account_id=account.pk, order_id=order.public_id, actor="test"
            ),
        )
        ended = now_of(order)
        ends[ended.status] += 1
        assert ended.status in ("filled", "canceled")
        assert ended.fill_count == (ended.status == "filled")
        subject = f"order:{order.public_id}"
        kinds = list(Event.objects.filter(subject=subject).values_list("kind", flat=True))
        assert len([kind for kind in kinds if kind.endswith(("fill", "canceled"))]) == 1
    assert Fill.objects.count() == ends["filled"]
    assert_books_balance(account)


def test_concurrent_cancels_cancel_once(floor: TradingFloor, account: Account) -> None:
    order = floor.buy(account, "1", limit="98")
    outcomes = together(
        *[lambda: orders.cancel(account_id=account.pk, order_id=order.public_id, actor="test")] * 3
    )
    codes = sorted(outcome.code for outcome in outcomes if isinstance(outcome, OpenbellError))
    assert codes == [42210000] * 2
    assert Event.objects.filter(kind="trading.order.canceled").count() == 1
    assert_books_balance(account)


def test_the_fourth_request_of_an_account_is_told_to_come_back(
    floor: TradingFloor, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One is decided, two wait, the next hears 429 before anything is stored."""
    monkeypatch.setattr(locks, "WAIT_SECONDS_MAX", WAIT_SECONDS_MAX)
    order = floor.buy(account, "1", limit="90")
    inside, leave = threading.Event(), threading.Event()

    def hold_the_turn() -> None:
        with locks.turn(account.pk):
            inside.set()
            leave.wait(WAIT_SECONDS_MAX)

    def cancel() -> Order:
        return orders.cancel(account_id=account.pk, order_id=order.public_id, actor="test")

    with ThreadPoolExecutor(2) as threads:
        threads.submit(hold_the_turn)
        try:
            assert inside.wait(WAIT_SECONDS_MAX)
            waiting = threads.submit(together, cancel, cancel)
            eventually(lambda: locks._queues[account.pk].users == 3, "two that wait")
            with pytest.raises(AccountBusy) as busy:
                cancel()
            status, headers, body = answer_error(busy.value)
            assert (status, body["code"], body["maximum"]) == (429, 42910000, "2")
            assert headers == {"Retry-After": "1"}
            assert now_of(order).status == "accepted"
        finally:
            leave.set()
    codes = [outcome.code for outcome in waiting.result() if isinstance(outcome, OpenbellError)]
    assert codes == [42210000]  # of the two that waited one canceled, the other came too late
    assert now_of(order).status == "canceled"
    assert account.pk not in locks._queues


def test_a_locked_account_does_not_hold_up_the_others(
    floor: TradingFloor, account: Account
) -> None:
    only_with_row_locks()
    other = funded_account()
    locked_order, free_order = floor.buy(account, "1"), floor.buy(other, "1")
    pending = floor.engine.pending
    with LockedAccount(account):
        floor.engine.admissions.admit_accepted(set())
        for tries in (1, 2, 3):
            pending.settle()
            assert pending.take_dropped() == []
            assert len(pending) == 2, tries  # admission and fill of the locked account
        assert now_of(free_order).status == "filled"
        assert now_of(locked_order).status == "accepted"
    floor.engine.drain()
    assert now_of(locked_order).status == "filled"
    assert_books_balance(account, other)


@pytest.fixture
def patient_settlement(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Settlement waits for a lock as long as it takes."""
    monkeypatch.setattr(settlement, "LOCK_WAIT_SECONDS", int(WAIT_SECONDS_MAX))
    yield
    connection.close()  # which would go on like that


def test_after_three_tries_settlement_waits_for_the_account(
    floor: TradingFloor, account: Account, patient_settlement: None
) -> None:
    only_with_row_locks()
    order = floor.buy(account, "1")
    pending = floor.engine.pending
    with LockedAccount(account) as lock:
        floor.engine.admissions.admit_accepted(set())
        for _ in range(3):
            pending.settle()
        begun = time.monotonic()
        threading.Timer(0.3, lock.let_go).start()
        pending.settle()
        assert time.monotonic() - begun >= 0.3
    assert now_of(order).status == "filled"
    assert_books_balance(account)


def test_a_lock_that_does_not_come_in_two_seconds_is_503(
    floor: TradingFloor, account: Account
) -> None:
    only_with_row_locks()
    with LockedAccount(account):
        begun = time.monotonic()
        with pytest.raises(Unavailable) as gave_up:
            floor.buy(account, "1", limit="90")
        assert 1.5 < time.monotonic() - begun < 30
    assert gave_up.value.http_status == 503
    assert not Order.objects.exists()
    assert_books_balance(account)


def test_concurrent_orders_never_share_their_buying_power(
    floor: TradingFloor, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two buys and a short sale of 60 % of the power each: one of them fits."""
    monkeypatch.setattr(locks, "WAITING_MAX", 1_000)
    configure(account_id=account.pk, changes={"max_margin_multiplier": "2"}, actor="test")
    outcomes = together(
        lambda: floor.buy(account, "120", limit="100"),
        lambda: floor.buy(account, "120", limit="100"),
        lambda: floor.sell(account, "116", limit="101"),
    )
    placed = [outcome for outcome in outcomes if isinstance(outcome, Order)]
    assert len(placed) == 1
    account.refresh_from_db()
    assert account.hold_cash == placed[0].hold_cash > 0
    assert_books_balance(account)


def test_after_the_kill_switch_nothing_is_open_whatever_came_beside_it(
    floor: TradingFloor, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "WAITING_MAX", 1_000)
    stopped = threading.Event()

    def place_many() -> int:
        placed = 0
        for _ in range(50):
            try:
                floor.buy(account, "1", limit="90")
                placed += 1
            except AccountBlocked:
                assert stopped.is_set() or Account.objects.get(pk=account.pk).trading_suspended
                break
        return placed

    def stop() -> int:
        eventually(Order.objects.exists, "an order")
        canceled = stop_trading(account_id=account.pk, actor="test", reason="test")
        stopped.set()
        return len(canceled)

    *placed, canceled = together(place_many, place_many, stop)
    assert sum(placed) == canceled > 0
    assert not Order.objects.exclude(status="canceled").exists()
    assert_books_balance(account)
