from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from django.core.cache import caches

from access import lookups
from access.lookups import REMEMBERED_MAX, RENEW_SECONDS, STALE_SECONDS, Memory
from access.users import disable_user, enable_user
from portfolios.accounts import close_account, open_account
from tests.people import Trader, a_trader


def test_a_value_is_loaded_once_while_it_is_fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[str] = []
    memory: Memory[str, str] = Memory(lambda key: loaded.append(key) or key.upper())
    now = [100.0]
    monkeypatch.setattr("access.lookups.time.monotonic", lambda: now[0])

    assert [memory.get("a"), memory.get("a")] == ["A", "A"]
    assert loaded == ["a"]

    now[0] += 2.1
    memory.get("a")
    assert loaded == ["a", "a"]


def test_what_is_asked_for_all_the_time_is_renewed_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[str] = []

    def load(key: str) -> str:
        loaded.append(key)
        if len(loaded) == 2:  # while it loads, the others go on with what is known
            assert memory.get("a") == "A1"
            assert memory.remembered("a", may_wait=False) == "A1"
        return f"A{len(loaded)}"

    memory: Memory[str, str] = Memory(load)
    now = [100.0]
    monkeypatch.setattr("access.lookups.time.monotonic", lambda: now[0])

    assert memory.remembered("a", may_wait=False) is None
    assert memory.get("a") == "A1"
    now[0] += RENEW_SECONDS - 0.1
    assert memory.remembered("a", may_wait=True) == memory.get("a") == "A1"
    now[0] += 0.1
    first, second = (memory.remembered("a", may_wait=False) for _ in range(2))
    assert (first, second) == (None, "A1")
    assert memory.remembered("a", may_wait=True) is None  # comes to `get`
    assert memory.get("a") == "A2"
    assert memory.remembered("a", may_wait=True) == memory.get("a") == "A2"
    assert loaded == ["a", "a"]


def test_what_nobody_renewed_in_time_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    memory: Memory[str, str] = Memory(lambda key: key)
    now = [100.0]
    monkeypatch.setattr("access.lookups.time.monotonic", lambda: now[0])
    memory.get("a")

    now[0] += STALE_SECONDS - 0.1
    assert memory.remembered("a", may_wait=False) is None
    assert memory.remembered("a", may_wait=False) == "a"
    now[0] += 0.1
    assert memory.remembered("a", may_wait=False) is None
    assert memory.remembered("a", may_wait=True) is None


def test_what_does_not_exist_is_not_remembered() -> None:
    found: dict[str, str] = {}
    memory: Memory[str, str] = Memory(found.get)

    assert memory.get("a") is None
    found["a"] = "now"
    assert memory.get("a") == "now"


def test_memory_is_bounded() -> None:
    memory: Memory[int, int] = Memory(lambda key: key)
    for key in range(REMEMBERED_MAX + 50):
        memory.get(key)

    assert len(memory._entries) == REMEMBERED_MAX


@pytest.fixture
def trader() -> Trader:
    """Somebody whose record is in the cache; this process's memory is as empty as any other's."""
    trader = a_trader()
    assert lookups.find_user(trader.user.pk) is not None
    forget_memory(trader)
    return trader


def forget_memory(trader: Trader) -> None:
    lookups.forget_user(trader.user.pk)


@pytest.mark.django_db(transaction=True)
def test_a_screen_that_asks_now_and_then_costs_no_query(
    trader: Trader, django_assert_num_queries: Any
) -> None:
    with django_assert_num_queries(0):
        known = lookups.find_user(trader.user.pk)

    assert known is not None
    assert known.account_ids == (trader.account.pk,)
    assert (known.user, known.user.is_active) == (trader.user, True)


@pytest.mark.django_db(transaction=True)
def test_a_record_is_read_with_one_query(trader: Trader, django_assert_num_queries: Any) -> None:
    lookups.user_changed(trader.user.pk)

    with django_assert_num_queries(1):
        assert lookups.find_user(trader.user.pk) is not None


@pytest.mark.django_db(transaction=True)
def test_an_account_beyond_those_that_are_kept_is_remembered_too(
    trader: Trader, monkeypatch: pytest.MonkeyPatch, django_assert_max_num_queries: Any
) -> None:
    monkeypatch.setattr(lookups, "ACCOUNTS_PER_USER_MAX", 1)
    monkeypatch.setattr(lookups, "RENEW_SECONDS", 3600)
    monkeypatch.setattr(lookups, "STALE_SECONDS", 3600)
    second = open_account(user=trader.user, cash=Decimal(1), actor="test")

    with django_assert_max_num_queries(2):
        for _ in range(3):
            known = lookups.find_user(trader.user.pk, chosen=second.pk)
            assert known is not None
            assert known.account_ids == (trader.account.pk, second.pk)


@pytest.mark.django_db(transaction=True)
def test_the_record_holds_no_password(trader: Trader) -> None:
    key = str(trader.user.pk)
    record = caches["quotes"].get_or_load_many(lookups.RECORDS, [key], dict.fromkeys)[key]

    assert trader.user.password not in str(record)


@pytest.mark.django_db(transaction=True)
def test_a_record_goes_when_its_user_changes(trader: Trader) -> None:
    browser = trader.browser()
    assert browser.get("/v2/account").status_code == 200
    forget_memory(trader)

    trader.user.set_password("another sesame")
    trader.user.save()
    assert browser.get("/v2/account").status_code == 401

    disable_user(user_id=trader.user.pk, actor="test")
    forget_memory(trader)
    assert lookups.find_user(trader.user.pk) is None

    enable_user(user_id=trader.user.pk, actor="test")
    forget_memory(trader)
    assert lookups.find_user(trader.user.pk) is not None


@pytest.mark.django_db(transaction=True)
def test_a_record_goes_when_an_account_is_opened(trader: Trader) -> None:
    second = open_account(user=trader.user, cash=Decimal(1), actor="test")
    forget_memory(trader)

    known = lookups.find_user(trader.user.pk)
    assert known is not None
    assert known.account_ids == (trader.account.pk, second.pk)


@pytest.mark.django_db(transaction=True)
def test_a_record_goes_when_an_account_is_closed(trader: Trader) -> None:
    second = open_account(user=trader.user, cash=Decimal(1), actor="test")
    assert lookups.find_user(trader.user.pk) is not None

    close_account(account_id=trader.account.pk, actor="test")
    forget_memory(trader)

    known = lookups.find_user(trader.user.pk)
    assert known is not None
    assert known.account_ids == (second.pk, trader.account.pk)


@pytest.mark.django_db(transaction=True)
def test_a_login_does_not_drop_the_record(trader: Trader, django_assert_num_queries: Any) -> None:
    trader.browser()
    forget_memory(trader)

    with django_assert_num_queries(0):
        assert lookups.find_user(trader.user.pk) is not None
