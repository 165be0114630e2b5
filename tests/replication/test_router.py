"""Which server answers, seen on a real primary with two replicas."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from typing import Any
from uuid import uuid4

from django.contrib.auth import get_user_model
from django.core.cache import caches
from django.db import transaction
from django.test import Client

from access.keys import create_key
from access.models import ApiKey
from config.databases import pinning
from config.databases.reading import reading
from events import acting, log
from events.models import Event, Lease
from portfolios.accounts import deposit, open_account
from portfolios.models import Account, Position
from quotes.models import Instrument, MarketClock
from tests.waiting import eventually


def opened_account() -> Account:
    user = get_user_model().objects.create_user(username=uuid4().hex)
    return open_account(user=user, cash=Decimal(1_000), actor="test")


def key_of(account: Account) -> dict[str, str]:
    """The headers that let a program in."""
    key, secret = create_key(account_id=account.pk, user=account.user, name="test", actor="test")
    return {"APCA-API-KEY-ID": key.key_id, "APCA-API-SECRET-KEY": secret}


def await_arrival(account: Account) -> None:
    """Return once both replicas know the account."""
    for alias in ("replica_1", "replica_2"):
        eventually(Account.objects.using(alias).filter(pk=account.pk).exists, f"it on {alias}")


def forget_marks(account: Account) -> None:
    caches["state"].delete(f"pin:{account.pk}")


def test_requests_take_turns_and_each_keeps_its_replica(settled):
    served: Counter[str] = Counter()
    for _ in range(40):
        with reading():
            aliases = {Instrument.objects.all().db for _ in range(5)}
        assert len(aliases) == 1
        served[aliases.pop()] += 1

    assert served == {"replica_1": 20, "replica_2": 20}


def test_what_must_not_be_old_stays_on_the_primary(settled):
    with reading():
        acting.account_id.set(None)
        models: list[Any] = [Lease, MarketClock, ApiKey, get_user_model(), Account, Position, Event]
        assert {model.objects.all().db for model in models} == {"default"}
        with transaction.atomic():
            assert Instrument.objects.all().db == "default"
        assert Instrument.objects.all().db != "default"
    assert Instrument.objects.all().db == "default"  # nobody's request


def test_a_request_that_wrote_reads_from_the_primary(settled):
    with reading():
        assert Instrument.objects.all().db != "default"
        Lease.objects.filter(name="nobody's").update(owner="")
        assert Instrument.objects.all().db == "default"


def test_an_account_is_pinned_until_its_mark_expires(settled):
    account = opened_account()
    acting.account_id.set(account.pk)

    with reading():
        assert Account.objects.all().db == "default"
    forget_marks(account)
    with reading():
        assert Account.objects.all().db != "default"


def test_the_mark_is_set_before_the_news_leave(settled):
    account = opened_account()
    forget_marks(account)
    pinned_at_news: list[bool] = []

    with transaction.atomic():
        locked = Account.objects.select_for_update().get(pk=account.pk)
        log.record("test.changed", actor="test", account=locked)
        locked.save(update_fields=["event_sequence"])
        transaction.on_commit(lambda: pinned_at_news.append(pinning.is_pinned(account.pk)))
        assert not pinning.is_pinned(account.pk)

    assert pinned_at_news == [True]


def test_a_flush_sends_every_account_to_the_primary(settled):
    account = opened_account()
    forget_marks(account)
    assert not pinning.is_pinned(account.pk)

    caches["state"].clear()

    assert pinning.is_pinned(account.pk)  # and it is noticed here
    assert pinning.is_pinned(account.pk)
    caches["state"].delete(pinning.YOUNG)  # as time does
    assert not pinning.is_pinned(account.pk)


def test_without_redis_account_reads_stay_and_changes_go_on(settled, settings):
    account = opened_account()
    settings.CACHES = {
        **settings.CACHES,
        "state": {**settings.CACHES["state"], "LOCATION": "redis://127.0.0.1:1/0"},
    }

    assert pinning.is_pinned(account.pk)
    deposit(account_id=account.pk, amount=Decimal(1), actor="test")


def test_an_account_read_leaves_the_primary(settled, monkeypatch):
    account = opened_account()
    client = Client(headers=key_of(account))
    client.get("/v2/account")  # notes the use of the key, which is a write
    await_arrival(account)
    forget_marks(account)
    seen: list[str] = []
    monkeypatch.setattr("config.databases.mysql.base.Cursor.execute", _spied(seen), raising=True)

    assert client.get("/v2/account").status_code == 200

    assert {"replica_1", "replica_2"} & set(seen)


def _spied(seen: list[str]) -> Any:
    from config.databases.mysql.base import Cursor

    execute = Cursor.execute

    def run(cursor: Any, query: str, args: Any = None) -> Any:
        seen.append(cursor._wrapper.alias)
        return execute(cursor, query, args)

    return run
