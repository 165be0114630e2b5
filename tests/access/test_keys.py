from __future__ import annotations

import re
from typing import Any

import pytest
from asgiref.sync import sync_to_async

from access.authentication import authenticate_key
from access.errors import TooManyKeys
from access.keys import KEYS_PER_ACCOUNT_MAX, create_key, revoke_key
from access.models import ApiKey
from events.errors import NotFound
from events.models import Event
from portfolios.accounts import close_account
from portfolios.errors import AccountClosed
from quotes.streaming.bus import CONTROL, WhenFull, bus
from tests.people import a_trader

pytestmark = pytest.mark.django_db


def test_key_has_an_id_and_a_secret_that_is_not_stored() -> None:
    trader = a_trader()

    key = ApiKey.objects.get(key_id=trader.key_id)

    assert re.fullmatch(r"OB[A-Z2-7]{18}", key.key_id)
    assert len(trader.secret) >= 43
    stored = " ".join(str(value) for value in ApiKey.objects.values_list().get(pk=key.pk))
    assert trader.secret not in stored


def test_creating_and_revoking_are_recorded_without_the_secret() -> None:
    trader = a_trader()
    revoke_key(account_id=trader.account.pk, key_id=trader.key_id, actor="user:1")

    events = Event.objects.filter(subject=f"key:{trader.key_id}").order_by("account_sequence")
    everything = list(Event.objects.filter(account_id=trader.account.pk).order_by("id"))

    assert [event.kind for event in events] == ["access.key.created", "access.key.revoked"]
    assert [event.account_sequence for event in everything] == [
        number + 1 for number in range(len(everything))
    ]
    assert all(trader.secret not in str(event.payload) for event in events)


def test_key_of_somebody_elses_account_is_refused_and_nothing_is_written() -> None:
    owner, other = a_trader(), a_trader()
    before = ApiKey.objects.count(), Event.objects.count()

    with pytest.raises(NotFound):
        create_key(account_id=owner.account.pk, user=other.user, actor="user:2")

    assert (ApiKey.objects.count(), Event.objects.count()) == before


def test_an_account_keeps_a_bounded_number_of_working_keys() -> None:
    trader = a_trader()
    fields = {"account_id": trader.account.pk, "user": trader.user, "actor": "user:1"}
    for _ in range(KEYS_PER_ACCOUNT_MAX - 1):
        create_key(**fields)

    with pytest.raises(TooManyKeys):
        create_key(**fields)

    revoke_key(account_id=trader.account.pk, key_id=trader.key_id, actor="user:1")
    create_key(**fields)


def test_a_closed_account_gets_no_new_key() -> None:
    trader = a_trader()
    close_account(account_id=trader.account.pk, actor="user:1")
    before = ApiKey.objects.count(), Event.objects.count()

    with pytest.raises(AccountClosed):
        create_key(account_id=trader.account.pk, user=trader.user, actor="user:1")

    assert (ApiKey.objects.count(), Event.objects.count()) == before


def test_revoked_key_opens_nothing_at_once(
    django_capture_on_commit_callbacks: Any,
) -> None:
    trader = a_trader()
    assert authenticate_key(trader.key_id, trader.secret) is not None

    with django_capture_on_commit_callbacks(execute=True):
        revoke_key(account_id=trader.account.pk, key_id=trader.key_id, actor="user:1")

    assert authenticate_key(trader.key_id, trader.secret) is None


def test_revoking_twice_records_once() -> None:
    trader = a_trader()
    for _ in range(2):
        revoke_key(account_id=trader.account.pk, key_id=trader.key_id, actor="user:1")

    assert Event.objects.filter(kind="access.key.revoked").count() == 1


def test_a_key_of_another_account_cannot_be_revoked() -> None:
    owner, other = a_trader(), a_trader()

    with pytest.raises(NotFound):
        revoke_key(account_id=other.account.pk, key_id=owner.key_id, actor="user:2")

    assert authenticate_key(owner.key_id, owner.secret) is not None


@pytest.mark.django_db(transaction=True)
async def test_sockets_hear_of_a_revocation_after_commit() -> None:
    trader = await sync_to_async(a_trader)()
    heard = bus().subscribe([CONTROL], limit=10, when_full=WhenFull.DROP_OLDEST)

    await sync_to_async(revoke_key)(
        account_id=trader.account.pk, key_id=trader.key_id, actor="user:1"
    )

    messages = await heard.get_many(timeout=2)
    heard.close()
    assert messages == [(CONTROL, {"kind": "key_revoked", "key_id": trader.key_id})]
    assert await sync_to_async(authenticate_key)(trader.key_id, trader.secret) is None
