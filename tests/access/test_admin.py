"""The operator's floor: every page opens, nothing is changed behind the log's back."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.test import Client
from django.urls import reverse

from access.authentication import authenticate_key
from access.models import ApiKey
from events.models import Event, Lease, Salt
from portfolios.models import WatchlistEntry
from quotes.models import Bar, Instrument, MarketClock, QuoteTick, TradeTick
from tests.api import recording
from tests.people import Trader, a_trader, an_operator

pytestmark = pytest.mark.django_db

User = get_user_model()
# Bars, whose composite key the admin cannot take, are shown on their instrument's page, and the
# entries of a watchlist on its page. Single ticks are nothing to look through, and a salt is what
# keeps the digest of an erased payload from being guessed.
WITHOUT_A_PAGE = {Bar, QuoteTick, TradeTick, WatchlistEntry, Salt}


@pytest.fixture
def operator() -> Trader:
    return an_operator()


@pytest.fixture
def floor(operator: Trader) -> Client:
    recording.play()
    return operator.browser()


def act(floor: Client, model: Any, action: str, *rows: Any, **fields: str) -> Any:
    """Choose rows of a list and run an action on them."""
    url = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
    chosen = [row.pk for row in rows]
    return floor.post(url, {"action": action, "_selected_action": chosen, **fields}, follow=True)


def our_models() -> list[Any]:
    from django.apps import apps

    ours = ("events", "quotes", "portfolios", "trading", "access")
    return [model for app in ours for model in apps.get_app_config(app).get_models()]


def test_every_model_is_registered() -> None:
    missing = {model for model in our_models() if not admin.site.is_registered(model)}

    assert missing == WITHOUT_A_PAGE


def test_every_list_and_every_row_opens(floor: Client) -> None:
    Lease.objects.create(name="feed:0")
    for model in (Instrument, ApiKey, User):
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}_add"
        assert floor.get(reverse(name)).status_code == 200, model
    for model in [*our_models(), User]:
        if model in WITHOUT_A_PAGE:
            continue
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        listing = floor.get(reverse(f"{name}_changelist"))
        assert listing.status_code == 200, model
        row = model.objects.first()
        if row is not None:
            assert floor.get(reverse(f"{name}_change", args=[row.pk])).status_code == 200, model


def test_lists_cost_the_same_for_one_row_and_for_many(floor: Client) -> None:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    def cost(model: Any) -> int:
        url = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
        floor.get(url)
        with CaptureQueriesContext(connection) as queries:
            floor.get(url)
        return len(queries)

    models = [Instrument, ApiKey, Event, User]
    before = {model: cost(model) for model in models}
    for number in range(10):
        Instrument.objects.create(symbol=f"T{number}")
        a_trader()

    assert {model: cost(model) for model in models} == before


@pytest.mark.parametrize("model", [Event, Lease])
def test_the_log_cannot_be_changed_by_anyone(floor: Client, model: Any) -> None:
    Lease.objects.create(name="feed:0")
    row = model.objects.first()
    name = f"admin:{model._meta.app_label}_{model._meta.model_name}"

    assert floor.get(reverse(f"{name}_add")).status_code == 403
    assert floor.post(reverse(f"{name}_change", args=[row.pk]), {}).status_code == 403
    assert floor.post(reverse(f"{name}_delete", args=[row.pk]), {"post": "yes"}).status_code == 403
    act(floor, model, "delete_selected", row, post="yes")
    assert model.objects.filter(pk=row.pk).exists()


def test_a_key_is_created_through_the_use_case_and_shown_once(
    floor: Client, operator: Trader
) -> None:
    trader = a_trader()

    page = floor.post(
        reverse("admin:access_apikey_add"), {"account": trader.account.pk, "name": "robot"}
    )

    key = ApiKey.objects.get(name="robot")
    secret = page.context["key"].shown_once
    assert secret in page.content.decode()
    assert authenticate_key(key.key_id, secret) is not None
    assert key.user == trader.user
    event = Event.objects.get(subject=f"key:{key.key_id}")
    assert (event.kind, event.actor) == ("access.key.created", f"operator:{operator.user.pk}")
    assert (
        secret
        not in floor.get(reverse("admin:access_apikey_change", args=[key.pk])).content.decode()
    )


def test_keys_are_revoked_and_never_deleted(
    floor: Client, django_capture_on_commit_callbacks: Any
) -> None:
    trader = a_trader()
    key = ApiKey.objects.get(key_id=trader.key_id)

    with django_capture_on_commit_callbacks(execute=True):
        act(floor, ApiKey, "revoke", key)
    act(floor, ApiKey, "delete_selected", key, post="yes")

    assert authenticate_key(trader.key_id, trader.secret) is None
    assert ApiKey.objects.filter(pk=key.pk).exists()


def test_users_are_shut_out_and_let_in_but_not_oneself(
    floor: Client, operator: Trader, django_capture_on_commit_callbacks: Any
) -> None:
    trader = a_trader()

    with django_capture_on_commit_callbacks(execute=True):
        act(floor, User, "disable", trader.user, operator.user)
    assert authenticate_key(trader.key_id, trader.secret) is None
    assert User.objects.get(pk=operator.user.pk).is_active

    with django_capture_on_commit_callbacks(execute=True):
        act(floor, User, "enable", trader.user)
    assert authenticate_key(trader.key_id, trader.secret) is not None


def test_an_instrument_is_halted_with_its_reason_and_resumed(floor: Client) -> None:
    aig, ibm = Instrument.objects.order_by("symbol")

    act(floor, Instrument, "halt", aig, ibm, reason="news pending")
    assert set(Instrument.objects.values_list("halted", "halt_reason")) == {(True, "news pending")}

    act(floor, Instrument, "resume", aig)
    assert list(Instrument.objects.values_list("halted", flat=True)) == [False, True]
    kinds = Event.objects.filter(kind__startswith="quotes.instrument.").values_list(
        "kind", flat=True
    )
    assert sorted(kinds) == ["quotes.instrument.halted"] * 2 + ["quotes.instrument.resumed"]


def test_an_instruments_page_shows_its_newest_bars(floor: Client) -> None:
    aig = Instrument.objects.get(symbol="AIG")
    page = floor.get(reverse("admin:quotes_instrument_change", args=[aig.pk])).content.decode()

    assert "2013-10-07 14:29" in page
    assert "2013-09-30 04:00" in page


def test_the_market_is_paused_and_sped_up_from_its_page(floor: Client) -> None:
    MarketClock.objects.update(mode="replay")
    clock = MarketClock.objects.get()

    act(floor, MarketClock, "pause", clock)
    act(floor, MarketClock, "set_speed", clock, speed="60")
    clock.refresh_from_db()
    assert (clock.paused, clock.speed) == (True, 60.0)

    act(floor, MarketClock, "go_on", clock)
    for nonsense in ("", "0", "1e9", "fast", "nan"):
        act(floor, MarketClock, "set_speed", clock, speed=nonsense)
    clock.refresh_from_db()
    assert (clock.paused, clock.speed) == (False, 60.0)


def test_a_market_that_cannot_be_paused_says_so(floor: Client) -> None:
    page = act(floor, MarketClock, "pause", MarketClock.objects.get())  # a stepped one

    assert "stepped market cannot do that" in page.content.decode()


def test_traders_do_not_get_in() -> None:
    answer = a_trader().browser().get(reverse("admin:index"))

    assert answer.status_code == 302
