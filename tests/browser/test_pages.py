"""The doors to the screen, and what the screen is handed."""

from __future__ import annotations

import json
import re
from decimal import Decimal

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser
from django.template import Context, Template
from django.test import Client, RequestFactory

from portfolios.models import Account
from trading.templatetags.browser_modules import MODULES

pytestmark = pytest.mark.django_db

GOOD = {"username": "ada", "password1": "a long pass phrase", "password2": "a long pass phrase"}


def test_signing_up_opens_a_funded_account_and_leads_to_the_screen(client):
    answer = client.post("/signup", GOOD, follow=True)

    account = Account.objects.get(user__username="ada")
    assert account.cash == Decimal(100_000)
    assert answer.redirect_chain == [("/", 302)]
    assert account.number in answer.content.decode()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"password1": "short", "password2": "short"}, "too short"),
        ({"password1": "password123", "password2": "password123"}, "too common"),
        ({"password2": "another pass phrase"}, "didn’t match"),
        ({"username": "no spaces please"}, "valid username"),
        ({"username": ""}, "required"),
    ],
)
def test_a_bad_sign_up_says_why_and_changes_nothing(client, change, sentence):
    answer = client.post("/signup", GOOD | change)

    assert answer.status_code == 422
    assert sentence in answer.content.decode()
    assert not get_user_model().objects.exists()
    assert not Account.objects.exists()


def test_a_name_is_taken_once(client):
    client.post("/signup", GOOD)

    answer = Client().post("/signup", GOOD)

    assert "already exists" in answer.content.decode()
    assert Account.objects.count() == 1


def test_logging_in_says_only_that_the_pair_is_wrong(client):
    client.post("/signup", GOOD)

    wrong = Client().post("/login", {"username": "ada", "password": "wrong"}).content.decode()
    unknown = Client().post("/login", {"username": "eve", "password": "wrong"}).content.decode()

    said = re.compile(r'class="form-error" role="alert">(.*?)<')
    assert said.search(wrong)[1] == said.search(unknown)[1]


def test_logging_in_leads_to_the_screen_and_out_to_the_door(client):
    client.post("/signup", GOOD)
    person = Client()

    entered = person.post("/login", {"username": "ada", "password": GOOD["password1"]}, follow=True)
    left = person.post("/logout", follow=True)

    assert 'data-market-stream="/v2/iex?honest=1"' in entered.content.decode()
    assert "Log in" in left.content.decode()
    assert "data-market-stream" not in person.get("/").content.decode()


def test_a_log_in_leads_nowhere_outside(client):
    client.post("/signup", GOOD)

    answer = Client().post(
        "/login?next=https://elsewhere.example/",
        {"username": "ada", "password": GOOD["password1"]},
    )

    assert answer.headers["Location"] == "/"


def test_a_user_without_an_account_is_offered_one_once(client):
    user = get_user_model().objects.create_user("grace", password="a long pass phrase")
    client.force_login(user)

    assert "Open a paper account" in client.get("/").content.decode()
    client.post("/accounts/open")
    client.post("/accounts/open")

    assert Account.objects.filter(user=user).count() == 1
    assert "data-desk" in client.get("/").content.decode()


def test_the_account_door_is_for_who_is_logged_in(client):
    answer = client.post("/accounts/open")

    assert answer.headers["Location"].startswith("/login")
    assert not Account.objects.exists()


def test_forms_need_the_csrf_token():
    careful = Client(enforce_csrf_checks=True)

    assert careful.post("/signup", GOOD).status_code == 403
    assert careful.post("/login", GOOD).status_code == 403
    assert not get_user_model().objects.exists()


def test_every_page_tells_the_environment(client):
    for path in ("/", "/login", "/signup"):
        page = client.get(path).content.decode()
        assert re.search(r"<title>[^<]*PAPER · LIVE DATA", page)
        assert "favicon-live" in page


def test_pages_are_never_stored(client):
    client.post("/signup", GOOD)

    assert "no-store" in client.get("/").headers["Cache-Control"]


def test_a_chosen_theme_is_rendered_and_nothing_else_is(client):
    client.cookies["theme"] = "dark"
    assert 'data-theme="dark"' in client.get("/").content.decode()

    client.cookies["theme"] = "x onload"
    assert "data-theme" not in client.get("/").content.decode()


def test_inline_code_carries_the_nonce_of_its_policy(client):
    client.post("/signup", GOOD)

    answer = client.get("/")
    page = answer.content.decode()

    nonce = re.search(r"'nonce-([^']+)'", answer.headers["Content-Security-Policy"])[1]
    inline = re.findall(r"<script(?![^>]*\bsrc=)[^>]*>", page)
    assert inline
    assert all(f'nonce="{nonce}"' in tag for tag in inline)
    assert not re.search(r"\son\w+=", page), "an inline handler would not run"


def test_the_import_map_names_every_module():
    page = Template("{% load browser_modules %}{% import_map %}").render(Context())

    imports = json.loads(page)["imports"]
    for module in MODULES.glob("*.js"):
        assert f"/static/trading/js/{module.name}" in imports


def test_a_library_that_was_not_fetched_is_left_out(monkeypatch):
    monkeypatch.setattr(
        "trading.templatetags.browser_modules.LIBRARIES", {"missing": "vendor/missing.mjs"}
    )
    template = Template('{% load browser_modules %}{% import_map %}{% vendored "missing.woff2" %}')

    assert "missing" not in template.render(Context())


def test_the_map_cannot_end_its_script_element(monkeypatch):
    monkeypatch.setattr(
        "trading.templatetags.browser_modules.module_names", lambda: ["</script><b>.js"]
    )

    page = Template("{% load browser_modules %}{% import_map %}").render(Context())

    assert "</script" not in page


def test_the_menu_offers_the_floor_to_operators_only(client):
    client.post("/signup", GOOD)
    assert "/admin/" not in client.get("/").content.decode()

    get_user_model().objects.update(is_staff=True)
    assert "/admin/" in client.get("/").content.decode()


def test_a_replay_shows_its_speed(monkeypatch):
    from trading import views

    clock = type("Clock", (), {"mode": "replay", "speed": 60.0})
    monkeypatch.setattr(views, "market_clock", lambda: clock)
    request = RequestFactory().get("/")
    request.user = AnonymousUser()

    page = views.screen(request).content.decode()

    assert "PAPER · REPLAY ×60" in page
    assert "favicon-replay" in page
