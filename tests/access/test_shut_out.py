"""Whom open sockets are told that the database shuts out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial

import pytest
from pytest_django import DjangoAssertNumQueries

from access import accounts, keys, lookups, shut_out, users
from access.accounts import reset_account
from access.authentication import sockets
from access.keys import revoke_key
from access.users import disable_user, enable_user
from events.models import Event
from quotes.streaming import watch
from quotes.streaming.consumers import MarketDataConsumer
from quotes.streaming.off_loop import off_loop
from quotes.streaming.session import AUTHENTICATED
from tests.people import Trader, a_trader
from tests.streams import connected, threads_of_its_own
from tests.waiting import until

pytestmark = pytest.mark.django_db


def revoke(trader: Trader) -> None:
    revoke_key(account_id=trader.account.pk, key_id=trader.key_id, actor="test")


def begin_anew(trader: Trader) -> None:
    reset_account(account_id=trader.account.pk, cash=Decimal(5), actor="test")


def test_open_sockets_are_asked_about_in_the_database() -> None:
    revoked, disabled, fine = a_trader(), a_trader(), a_trader()
    held = {sockets.by_key(each.key_id, each.secret) for each in (revoked, disabled, fine)}
    revoke(revoked)
    disable_user(user_id=disabled.user.pk, actor="test")

    gone = sockets.shut_out({each for each in held if each is not None})

    assert {each.user_id for each in gone} == {revoked.user.pk, disabled.user.pk}
    assert sockets.shut_out(set()) == set()


def test_a_socket_is_asked_about_with_the_account_that_its_key_was_for() -> None:
    trader = a_trader()
    old = sockets.by_key(trader.key_id, trader.secret)
    begin_anew(trader)
    lookups.forget_everyone()
    new = sockets.by_key(trader.key_id, trader.secret)
    assert old is not None
    assert new is not None

    assert sockets.shut_out({old, new}) == {old}


def test_who_was_shut_out_since_the_last_answer_is_told() -> None:
    revoked, disabled, reset, _ = a_trader(), a_trader(), a_trader(), a_trader()
    before = sockets.shut_out_since(None)
    assert (before.keys, before.users, before.accounts) == ({}, set(), set())

    revoke(revoked)
    disable_user(user_id=disabled.user.pk, actor="test")
    begin_anew(reset)

    lately = sockets.shut_out_since(before.mark)
    assert lately.keys == {revoked.key_id: revoked.user.pk}
    assert lately.users == {disabled.user.pk}
    assert lately.accounts == {reset.account.pk}


def test_who_was_being_disabled_when_the_first_question_was_asked_is_told() -> None:
    """The event has the lower number, and is committed after that of another user."""
    trader, other = a_trader(), a_trader()
    disable_user(user_id=trader.user.pk, actor="test")
    disable_user(user_id=other.user.pk, actor="test")
    events = Event.objects.filter(kind="access.user.disabled").order_by("pk")
    first, second = events
    Event.objects.filter(pk=first.pk).update(kind="none that anybody sees yet")

    begin = sockets.shut_out_since(None)
    assert begin.users == {other.user.pk}
    Event.objects.filter(pk=first.pk).update(kind=second.kind)

    assert sockets.shut_out_since(begin.mark).users == {trader.user.pk, other.user.pk}


def test_who_is_let_in_again_is_not_shut_out() -> None:
    trader, begin = a_trader(), sockets.shut_out_since(None)
    disable_user(user_id=trader.user.pk, actor="test")
    enable_user(user_id=trader.user.pk, actor="test")

    assert sockets.shut_out_since(begin.mark).users == set()


def test_it_is_told_again_until_nothing_earlier_can_be_committed_still(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, revoked = a_trader(), a_trader()
    mark = sockets.shut_out_since(None).mark
    disable_user(user_id=first.user.pk, actor="test")
    revoke(revoked)
    for _ in range(2):
        lately = sockets.shut_out_since(mark)
        assert (lately.users, set(lately.keys)) == ({first.user.pk}, {revoked.key_id})
        mark = lately.mark

    long_ago = datetime.now(UTC) - 2 * shut_out.LATE
    Event.objects.filter(kind="access.user.disabled").update(recorded_at=long_ago)
    mark = sockets.shut_out_since(mark).mark
    assert sockets.shut_out_since(mark).users == set()
    monkeypatch.setattr(shut_out, "LATE", timedelta(0))
    assert sockets.shut_out_since(mark).keys == {}


def test_after_an_outage_of_the_database_all_of_it_is_told() -> None:
    trader, mark = a_trader(), sockets.shut_out_since(None).mark
    hour = timedelta(hours=1)  # since the last answer
    revoke(trader)
    disabled = a_trader()
    disable_user(user_id=disabled.user.pk, actor="test")
    trader.account.api_keys.update(revoked_at=datetime.now(UTC) - hour / 2)
    Event.objects.filter(kind="access.user.disabled").update(
        recorded_at=datetime.now(UTC) - hour / 2
    )

    lately = sockets.shut_out_since(mark._replace(at=mark.at - hour))

    assert set(lately.keys) == {trader.key_id}
    assert lately.users == {disabled.user.pk}


def test_it_costs_two_queries_however_many_were_shut_out_before(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    for _ in range(3):
        disable_user(user_id=a_trader().user.pk, actor="test")
    long_ago = datetime.now(UTC) - 2 * shut_out.LATE
    Event.objects.filter(kind="access.user.disabled").update(recorded_at=long_ago)
    mark = sockets.shut_out_since(None).mark

    with django_assert_num_queries(2):
        sockets.shut_out_since(mark)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("how", ["revoked", "disabled", "begun anew"])
async def test_who_is_shut_out_loses_open_sockets_though_no_news_of_it_comes(
    monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(watch, "SWEEP_SECONDS", 0.02)
    monkeypatch.setattr(watch, "TURN_USERS", 0)
    monkeypatch.setattr(keys, "_announce_revoked", lambda key_id: None)
    monkeypatch.setattr(users, "_announce", lambda kind, user_id: None)
    monkeypatch.setattr(accounts, "_announce", lambda old: None)
    app = MarketDataConsumer.as_asgi(authenticate=sockets)
    with threads_of_its_own():
        trader, other = await off_loop(a_trader), await off_loop(a_trader)
        async with connected(app) as client, connected(app) as stays:
            for each, who in ((client, trader), (stays, other)):
                each.say({"action": "auth", "key": who.key_id, "secret": who.secret})
                assert (await each.hear_many(2))[1] == [AUTHENTICATED]
            await until(lambda: not watch.watch()._lists[id(sockets)]._new, "the first question")

            if how == "revoked":
                await off_loop(revoke, trader)
            elif how == "disabled":
                await off_loop(partial(disable_user, user_id=trader.user.pk, actor="test"))
            else:
                await off_loop(begin_anew, trader)

            assert (await client.hear())[0]["code"] == 402
            assert await client.closed() == 4401
            assert stays.close_code is None
