"""Who keeps an account's reads on the primary, and what becomes of it when Redis fails."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest
from django.core.cache import caches
from django.db import connections
from django.urls import reverse

from config.databases import pinning
from config.wsgi import orders as short_way
from events.transactions import CommitLost
from portfolios.accounts import deposit, withdraw
from tests.api.test_hot import ask
from tests.api.test_hot_orders import BUY
from tests.api.test_hot_orders import environ as order_request
from tests.conftest import LONG
from tests.people import Trader, a_trader, an_operator
from tests.redis_server import RedisServer
from tests.replication.cluster import Cluster
from tests.replication.conftest import state_cache
from tests.trading.floor import TradingFloor
from tests.waiting import eventually

REDIS_SECONDS = 0.2  # until Redis is given up, where a test hurts it
PROMPT_SECONDS = 0.7 if LONG else 3.0  # what is more is a busy machine's
CLOCK_SECONDS = 0.1  # by which Redis may see a second end earlier than we do

pytestmark = pytest.mark.usefixtures("settled", "long_pin")


@pytest.fixture
def long_pin(monkeypatch: pytest.MonkeyPatch) -> None:
    """Marks that outlive whatever a test does, on a busy machine too."""
    monkeypatch.setattr(pinning, "BEYOND_LAG_SECONDS", 600.0)


@pytest.fixture
def trader() -> Trader:
    """Somebody whose account has not changed of late."""
    trader = a_trader()
    forget_marks(trader)
    return trader


@pytest.fixture
def floor(settled: Cluster) -> Iterator[TradingFloor]:
    floor = TradingFloor()
    floor.show("90", "101")
    try:
        yield floor
    finally:
        floor.restart()  # gives the lease back


def forget_marks(trader: Trader) -> None:
    caches["state"].delete(f"pin:{trader.account.pk}")


def is_pinned(trader: Trader) -> bool:
    return pinning.is_pinned(trader.account.pk)


# --- who pins ------------------------------------------------------------------------------------


def change_choices(trader: Trader) -> Any:
    choice = {"no_shorting": True}
    return trader.client().patch("/v2/account/configurations", choice, "application/json")


def keep_a_watchlist(trader: Trader) -> Any:
    return trader.client().post("/v2/watchlists", {"name": "Mine"}, "application/json")


def be_frozen_by_an_operator(trader: Trader) -> Any:
    page = reverse("admin:portfolios_account_changelist")
    what = {"action": "freeze_accounts", "_selected_action": [trader.account.pk]}
    return an_operator().browser().post(page, what, follow=True)


def pay_in(trader: Trader) -> None:
    deposit(account_id=trader.account.pk, amount=Decimal(1), actor="operator:1")


def pay_out(trader: Trader) -> None:
    withdraw(account_id=trader.account.pk, amount=Decimal(1), actor="operator:1")


@pytest.mark.parametrize(
    "change", [change_choices, keep_a_watchlist, be_frozen_by_an_operator, pay_in, pay_out]
)
def test_a_change_pins_its_account_and_no_other(trader: Trader, change: Any) -> None:
    other = a_trader()
    forget_marks(other)
    assert not is_pinned(trader)

    answer = change(trader)

    assert answer is None or answer.status_code == 200
    assert is_pinned(trader)
    assert not is_pinned(other)


def test_an_order_pins_and_so_do_its_fills_and_its_end(trader: Trader, floor: TradingFloor) -> None:
    def pins(step: Callable[[], Any]) -> Any:
        forget_marks(trader)
        assert not is_pinned(trader)
        outcome = step()
        assert is_pinned(trader)
        return outcome

    client = trader.client()
    order = {"symbol": "AAPL", "side": "buy", "type": "limit", "time_in_force": "day", "qty": "3"}
    order["limit_price"] = "100"
    placed = pins(lambda: client.post("/v2/orders", order, "application/json")).json()
    pins(lambda: floor.show("90", "100", ask_size=1))
    pins(lambda: floor.show("90", "99", ask_size=1))
    answer = pins(lambda: client.delete(f"/v2/orders/{placed['id']}"))

    assert answer.status_code == 204
    ended = client.get(f"/v2/orders/{placed['id']}").json()
    assert (ended["status"], ended["filled_qty"]) == ("canceled", "2")


def test_an_order_whose_outcome_nobody_knows_pins(
    trader: Trader, floor: TradingFloor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client looks for it next, and is not to find an older state and order again."""

    def lose_the_commit(**_: Any) -> None:
        raise CommitLost(2013, "lost")

    monkeypatch.setattr("trading.orders.submit", lose_the_commit)
    assert not is_pinned(trader)

    answer = ask(short_way, order_request(BUY, trader.headers))

    assert answer.status == 503
    assert is_pinned(trader)


def test_what_only_reads_pins_nothing(trader: Trader) -> None:
    client = trader.client()
    for path in ("/v2/account", "/v2/positions", "/v2/orders", "/v2/watchlists"):
        assert client.get(path).status_code == 200

    assert not is_pinned(trader)


# --- Redis fails ---------------------------------------------------------------------------------


@pytest.fixture
def redis(redis_server: RedisServer, settings: Any) -> Iterator[RedisServer]:
    """The Redis of the marks, soon given up; it runs again when the test is over."""
    state = state_cache(redis_server.url, REDIS_SECONDS)
    settings.CACHES = {**settings.CACHES, "state": state}
    try:
        yield redis_server
    finally:
        redis_server.process.send_signal(signal.SIGCONT)


@pytest.fixture
def short_pin(long_pin: None, settings: Any, monkeypatch: pytest.MonkeyPatch) -> int:
    """Marks that live for a second."""
    monkeypatch.setattr(pinning, "BEYOND_LAG_SECONDS", 0.5)
    settings.REPLICA_LAG_MAX_SECONDS = 0.5
    return pinning.pin_seconds()


def seconds_of(work: Callable[[], Any]) -> float:
    begun = time.monotonic()
    work()
    return time.monotonic() - begun


def test_while_redis_hangs_the_primary_answers_promptly(
    trader: Trader, redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = trader.client()
    client.get("/v2/account")
    replicas_would_fail(monkeypatch)

    redis.process.send_signal(signal.SIGSTOP)

    until = time.monotonic() + 1.5 * pinning.AWAY_SECONDS  # it is tried again meanwhile
    while time.monotonic() < until:
        begun = time.monotonic()
        assert client.get("/v2/account").status_code == 200
        assert time.monotonic() - begun < PROMPT_SECONDS


def replicas_would_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    for alias in ("replica_1", "replica_2"):

        def refuse(*_: Any, alias: str = alias) -> None:
            raise AssertionError(f"{alias} was asked")

        monkeypatch.setattr(connections[alias], "cursor", refuse)


def test_a_change_that_redis_did_not_hear_of_is_not_forgotten(
    trader: Trader, redis: RedisServer, short_pin: int
) -> None:
    other = a_trader()
    forget_marks(other)
    eventually(lambda: not is_pinned(trader), "a trusted Redis")

    redis.process.send_signal(signal.SIGSTOP)
    assert seconds_of(lambda: pay_in(trader)) < PROMPT_SECONDS
    assert seconds_of(lambda: pay_in(trader)) < PROMPT_SECONDS
    back = time.monotonic()
    redis.process.send_signal(signal.SIGCONT)

    eventually(lambda: not pinning._repairing.locked(), "the end of the repair")
    for each in (other, trader):  # everybody, for nobody knows whose mark is missing
        eventually(lambda who=each: not is_pinned(who), "the end of the marks")
        assert time.monotonic() - back > short_pin - CLOCK_SECONDS


def test_while_a_mark_is_known_to_be_missing_none_is_trusted(trader: Trader) -> None:
    """Redis may answer again a moment before it has been told."""
    eventually(lambda: not is_pinned(trader), "a trusted Redis")
    with pinning._repairing:
        assert is_pinned(trader)
    assert not is_pinned(trader)


def test_replicas_are_read_from_again_while_changes_go_on(
    trader: Trader, redis: RedisServer, short_pin: int
) -> None:
    quiet = a_trader()
    redis.process.send_signal(signal.SIGSTOP)
    pay_in(trader)
    redis.process.send_signal(signal.SIGCONT)

    def replicas_are_back() -> bool:
        pay_in(trader)
        return not is_pinned(quiet)

    def the_change_is_marked() -> bool:
        pay_in(trader)
        return is_pinned(trader)

    eventually(replicas_are_back, "reads of replicas")
    eventually(the_change_is_marked, "a mark")  # it lives for a second, and we may stall for it


def test_a_flushed_redis_pins_everybody_for_a_while(
    trader: Trader, redis: RedisServer, short_pin: int
) -> None:
    pay_in(trader)
    caches["state"].clear()  # FLUSHDB
    flushed = time.monotonic()

    assert is_pinned(trader)
    eventually(lambda: not is_pinned(trader), "the end of the distrust")
    assert time.monotonic() - flushed > short_pin - CLOCK_SECONDS
