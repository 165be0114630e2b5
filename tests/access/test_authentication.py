from __future__ import annotations

import base64
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth import get_user_model
from django.test import Client

from access import lookups
from access.authentication import is_own_origin, sockets
from access.models import ApiKey
from access.users import disable_user, enable_user
from events.models import Event
from portfolios.accounts import open_account
from tests.people import Trader, a_trader

pytestmark = pytest.mark.django_db

ASKS_NOTHING = "/v2/assets?asset_class=crypto"  # an answer without a query of its own
REFUSED = {"code": 40110000, "message": "request is not authorized"}


def basic(trader: Trader) -> str:
    return "Basic " + base64.b64encode(f"{trader.key_id}:{trader.secret}".encode()).decode()


def test_key_opens_by_its_headers_or_as_basic() -> None:
    trader = a_trader()

    assert trader.client().get("/v2/clock").status_code == 200
    as_basic = Client(headers={"Authorization": basic(trader)})
    assert as_basic.get("/v2/clock").status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"APCA-API-KEY-ID": "{key}"},
        {"APCA-API-SECRET-KEY": "{secret}"},
        {"APCA-API-KEY-ID": "{key}", "APCA-API-SECRET-KEY": "{key}"},
        {"APCA-API-KEY-ID": "{key}", "APCA-API-SECRET-KEY": "{secret}x"},
        {"APCA-API-KEY-ID": "' OR 1=1 --", "APCA-API-SECRET-KEY": "{secret}"},
        {"APCA-API-KEY-ID": "ÄÖ", "APCA-API-SECRET-KEY": "ü"},
        {"APCA-API-KEY-ID": "A" * 5000, "APCA-API-SECRET-KEY": "B" * 5000},
        {"Authorization": "Bearer {secret}"},
        {"Authorization": "Basic"},
        {"Authorization": "Basic !!!"},
        {"Authorization": "Basic " + base64.b64encode(b"\xff\xfe").decode()},
    ],
)
def test_anything_but_a_key_and_its_secret_is_refused(headers: dict[str, str]) -> None:
    trader = a_trader()
    filled = {
        name: value.format(key=trader.key_id, secret=trader.secret)
        for name, value in headers.items()
    }

    answer = Client(headers=filled).get("/v2/clock")

    assert (answer.status_code, answer.json()) == (401, REFUSED)
    assert "Basic" not in answer.headers["WWW-Authenticate"]


def test_half_a_key_does_not_fall_through_to_the_session() -> None:
    browser = a_trader().browser()

    answer = browser.get("/v2/clock", headers={"APCA-API-KEY-ID": "OBNOSUCHKEY"})

    assert answer.status_code == 401


def test_disabled_user_is_out_by_key_and_by_session_until_let_in(
    django_capture_on_commit_callbacks: Any,
) -> None:
    trader = a_trader()
    doors = [trader.client(), trader.browser()]
    assert [door.get("/v2/clock").status_code for door in doors] == [200, 200]

    with django_capture_on_commit_callbacks(execute=True):
        disable_user(user_id=trader.user.pk, actor="operator:1")
    assert [door.get("/v2/clock").status_code for door in doors] == [401, 401]

    with django_capture_on_commit_callbacks(execute=True):
        enable_user(user_id=trader.user.pk, actor="operator:1")
    assert [door.get("/v2/clock").status_code for door in doors] == [200, 200]
    kinds = Event.objects.filter(subject=f"user:{trader.user.pk}").values_list("kind", flat=True)
    assert list(kinds) == ["access.user.disabled", "access.user.enabled"]


def test_session_of_a_changed_password_is_over() -> None:
    trader = a_trader()
    browser = trader.browser()
    assert browser.get("/v2/clock").status_code == 200

    trader.user.set_password("a new one entirely")
    trader.user.save()
    lookups.forget_everyone()

    assert browser.get("/v2/clock").status_code == 401


def test_session_changes_nothing_without_the_csrf_token() -> None:
    trader = a_trader()
    browser = trader.browser(enforce_csrf_checks=True)

    answer = browser.post("/api/keys", {"name": "robot"}, content_type="application/json")

    assert answer.status_code == 403
    assert answer.json()["code"] == 40310000
    assert ApiKey.objects.filter(user=trader.user).count() == 1


def test_session_acts_for_the_account_it_chose_if_it_is_its_own() -> None:
    trader, other = a_trader(), a_trader()
    second = open_account(user=trader.user, cash=trader.account.cash, actor="user:1")
    browser = trader.browser()

    def account_acted_for(chosen: Any) -> str:
        session = browser.session
        session["account_id"] = chosen
        session.save()
        events = browser.get("/v2/events").json()
        return str(events[0]["subject"])

    assert account_acted_for(None) == f"account:{trader.account.public_id}"
    assert account_acted_for(second.pk) == f"account:{second.public_id}"
    assert account_acted_for(other.account.pk) == f"account:{trader.account.public_id}"
    assert account_acted_for(["nonsense"]) == f"account:{trader.account.public_id}"


def test_user_without_an_account_is_told_so_and_served_once_they_have_one() -> None:
    user = get_user_model().objects.create_user(username="new", password="sesame open")
    browser = Client()
    browser.force_login(user)

    refused = browser.get("/v2/events")
    assert (refused.status_code, refused.json()["code"]) == (403, 40310000)
    assert browser.get("/v2/clock").status_code == 200

    open_account(user=user, cash=a_trader().account.cash, actor=f"user:{user.pk}")
    assert browser.get("/v2/events").status_code == 200


def test_warm_authentication_costs_no_query(django_assert_num_queries: Any) -> None:
    trader = a_trader()
    program, browser = trader.client(), trader.browser()
    for door in (program, browser):
        door.get(ASKS_NOTHING)

    with django_assert_num_queries(0):
        for door in (program, browser):
            answer = door.get(ASKS_NOTHING)
            assert answer.status_code == 200


def test_use_of_a_key_is_noted_once_an_hour() -> None:
    trader = a_trader()
    trader.client().get("/v2/clock")
    first = ApiKey.objects.get(key_id=trader.key_id).last_used_at

    lookups.forget_everyone()
    trader.client().get("/v2/clock")

    assert first is not None
    assert ApiKey.objects.get(key_id=trader.key_id).last_used_at == first


def test_a_wrong_secret_does_not_count_as_use() -> None:
    trader = a_trader()
    sockets.by_key(trader.key_id, "wrong")

    assert ApiKey.objects.get(key_id=trader.key_id).last_used_at is None


@pytest.mark.parametrize("secret", [None, 7, ["x"], "", "x" * 100_000, "\ud800"])
def test_socket_takes_any_nonsense_for_a_wrong_key(secret: Any) -> None:
    trader = a_trader()

    assert sockets.by_key(trader.key_id, secret) is None
    assert sockets.by_key(secret, trader.secret) is None


def handshake(**headers: str) -> dict[str, Any]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return {"headers": [(name.encode(), value.encode("latin1")) for name, value in named.items()]}


def test_socket_takes_a_key_from_the_handshake() -> None:
    trader = a_trader()
    scope = handshake(apca_api_key_id=trader.key_id, apca_api_secret_key=trader.secret)
    wrong = handshake(apca_api_key_id=trader.key_id, apca_api_secret_key="wrong")

    credential = sockets.by_scope(scope)

    assert credential is not None
    assert (credential.account_id, credential.key_id) == (trader.account.pk, trader.key_id)
    assert credential.actor == f"key:{trader.key_id}"
    assert sockets.by_scope(wrong) is None
    assert sockets.by_scope(handshake()) is None


@pytest.mark.parametrize(
    ("origin", "let_in"),
    [
        ("http://localhost:8000", True),
        ("https://localhost:8000", True),  # a proxy ended the TLS
        ("http://localhost:9000", False),
        ("http://evil.example", False),
        ("null", False),
        ("", False),
        ("http://[", False),
    ],
)
def test_socket_takes_a_session_from_our_own_pages_only(origin: str, let_in: bool) -> None:
    trader = a_trader()
    cookie = trader.browser().cookies[settings.SESSION_COOKIE_NAME].value
    scope = handshake(
        cookie=f"{settings.SESSION_COOKIE_NAME}={cookie}", origin=origin, host="localhost:8000"
    )

    credential = sockets.by_scope(scope)

    assert (credential is not None) == let_in
    if credential is not None:
        assert (credential.user_id, credential.key_id) == (trader.user.pk, None)


def test_socket_refuses_a_cookie_that_is_no_session() -> None:
    scope = handshake(
        cookie=f"{settings.SESSION_COOKIE_NAME}=nonsense",
        origin="http://localhost",
        host="localhost",
    )

    assert sockets.by_scope(scope) is None


def test_trusted_origins_may_open_sockets(settings: Any) -> None:
    settings.CSRF_TRUSTED_ORIGINS = ["https://*.example.com"]

    assert is_own_origin("https://trade.example.com", "localhost")
    assert not is_own_origin("http://trade.example.com", "localhost")
    assert not is_own_origin("https://example.org", "localhost")


def test_a_host_that_is_not_ours_opens_no_socket() -> None:
    """A page whose name was made to point at us (DNS rebinding) has its own name as host."""
    assert not is_own_origin("http://evil.example", "evil.example")
