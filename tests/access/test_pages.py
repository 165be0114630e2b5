"""The page of a user's accounts, form by form."""

from __future__ import annotations

import re
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.test import Client

from access import lookups
from portfolios.accounts import open_account
from portfolios.models import Account
from tests.meeting import together
from tests.people import Trader, a_trader
from tests.portfolios.factories import assert_books_balance
from trading import kill_switch, locks

pytestmark = pytest.mark.django_db


@pytest.fixture
def trader() -> Trader:
    return a_trader(cash="1000")


def post(browser: Client, do: str, **fields: Any) -> Any:
    """Send a form; one that is for an account for the one that is shown, unless told otherwise."""
    page = browser.get("/accounts").context
    named = {"account": page["account"].public_id, "number": page["number"]}
    answer = browser.post("/accounts", {"do": do, **named, **fields})
    lookups.forget_everyone()
    return answer


def named_by(page: str, do: str) -> str:
    """The account that the page's form of this button names."""
    (form,) = re.findall(rf'<form(?:(?!</form>).)*name="do" value="{do}"', page, re.DOTALL)
    (account,) = re.findall(r'name="account" value="([^"]+)"', form)
    return account


def shown(browser: Client) -> str:
    return browser.get("/accounts").content.decode()


def test_the_page_is_for_who_is_logged_in(client):
    assert client.get("/accounts").status_code == 302
    assert client.post("/accounts", {"do": "open"}).status_code == 302


def test_another_account_is_opened_and_chosen_and_the_screen_shows_it(trader):
    browser = trader.browser()

    assert post(browser, "open", **{"open-name": "Ideas", "open-cash": "250"}).status_code == 302
    new = Account.objects.get(name="Ideas")
    assert "$250.00 cash" in shown(browser)
    assert shown(browser).count("you trade here") == 1
    post(browser, "choose", account=str(new.public_id))

    assert new.number in browser.get("/").content.decode()
    assert browser.get("/v2/account").json()["account_number"] == new.number


def test_cash_is_moved_between_ones_own_accounts(trader):
    other = open_account(user=trader.user, name="B", cash=Decimal(1), actor="test")
    fields = {
        "transfer-source": str(trader.account.public_id),
        "transfer-target": str(other.public_id),
        "transfer-amount": "99.50",
    }

    assert post(trader.browser(), "transfer", **fields).status_code == 302
    refused = post(trader.browser(), "transfer", **fields | {"transfer-amount": "5000"})

    assert refused.status_code == 422
    assert "Insufficient cash to withdraw" in refused.content.decode()
    other.refresh_from_db()
    assert other.cash == Decimal("100.50")
    assert_books_balance(trader.account, other)


def test_a_form_that_is_sent_twice_is_done_once(trader):
    browser = trader.browser()
    opened = {"open-name": "Ideas", "open-cash": "250", "number": numbered(browser, "open")}
    first = [post(browser, "open", **opened).status_code for _ in range(2)]
    (ideas,) = Account.objects.filter(name="Ideas")
    moved = {
        "transfer-source": str(trader.account.public_id),
        "transfer-target": str(ideas.public_id),
        "transfer-amount": "99.50",
        "number": numbered(browser, "transfer"),
    }
    too_much = post(browser, "transfer", **moved | {"transfer-amount": "5000"})
    then = [post(browser, "transfer", **moved).status_code for _ in range(2)]

    assert (first, too_much.status_code, then) == ([302] * 2, 422, [302] * 2)
    ideas.refresh_from_db()
    assert ideas.cash == Decimal("349.50")
    assert_books_balance(trader.account, ideas)


@pytest.mark.django_db(transaction=True)
def test_a_second_click_beside_the_first_moves_nothing(trader):
    other = open_account(user=trader.user, name="B", cash=Decimal(1), actor="test")
    browsers = [trader.browser() for _ in range(3)]
    fields = {
        "do": "transfer",
        "transfer-source": str(trader.account.public_id),
        "transfer-target": str(other.public_id),
        "transfer-amount": "99.50",
        "number": numbered(browsers[0], "transfer"),
    }
    clicks = [partial(browser.post, "/accounts", fields) for browser in browsers]
    answers = {answer.status_code for answer in together(*clicks)}
    assert 302 in answers
    assert answers <= {302, 422}, "on a slow machine its turn may not come in time"
    other.refresh_from_db()
    assert other.cash == Decimal("100.50")


def numbered(browser: Client, do: str) -> str:
    """The number of the page's form of this button."""
    (form,) = re.findall(
        rf'<form(?:(?!</form>).)*name="do" value="{do}"', shown(browser), re.DOTALL
    )
    (number,) = re.findall(r'name="number" value="([^"]+)"', form)
    return number


def test_beginning_anew_takes_a_word_and_leads_on_with_the_new_account(trader):
    browser = trader.browser()
    unsure = post(browser, "reset", **{"reset-cash": "5"})
    assert unsure.status_code == 422
    assert Account.objects.count() == 1

    post(browser, "reset", **{"reset-cash": "5", "reset-sure": "on"})

    closed = post(browser, "choose", account=str(trader.account.public_id))
    assert "Account is closed" in closed.content.decode()
    new = Account.objects.get(predecessor=trader.account)
    assert f"begun anew as {new.number}" in shown(browser)
    assert browser.get("/v2/account").json()["cash"] == "5"


def test_margin_and_short_sales_are_chosen_and_kept_when_it_begins_anew(trader):
    browser = trader.browser()
    post(browser, "margin", **{"margin-max_margin_multiplier": "2", "margin-no_shorting": "on"})
    assert '<option value="2" selected>' in shown(browser)
    wrong = post(browser, "margin", **{"margin-max_margin_multiplier": "3"})
    assert wrong.status_code == 422

    post(browser, "reset", **{"reset-cash": "5000", "reset-sure": "on"})

    account = browser.get("/v2/account").json()
    assert (account["multiplier"], account["buying_power"]) == ("2", "10000")
    assert account["shorting_enabled"] is False


def test_one_button_stops_trading_and_another_lets_it_go_on(trader):
    browser = trader.browser()
    post(browser, "stop")
    assert "Trade again" in shown(browser)
    assert browser.get("/v2/account").json()["trade_suspended_by_user"] is True

    post(browser, "resume")
    assert "Stop it" in shown(browser)
    assert browser.get("/v2/account").json()["trade_suspended_by_user"] is False


MARGIN = {"margin-max_margin_multiplier": "2"}
RESET = {"reset-cash": "5", "reset-sure": "on"}


@pytest.mark.parametrize(("do", "fields"), [("margin", MARGIN), ("stop", {}), ("reset", RESET)])
def test_a_stale_page_acts_for_the_account_that_it_shows(trader, do, fields):
    other = open_account(user=trader.user, name="B", cash=Decimal(1), actor="test")
    browser = trader.browser()
    stale = shown(browser)
    post(browser, "choose", account=str(other.public_id))

    assert post(browser, do, account=named_by(stale, do), **fields).status_code == 302

    changed = Account.objects.get(pk=trader.account.pk)
    assert (changed.multiplier == 2, changed.trading_suspended, changed.status != "ACTIVE") == (
        do == "margin",
        do == "stop",
        do == "reset",
    )
    untouched = Account.objects.get(pk=other.pk)
    assert (untouched.multiplier, untouched.trading_suspended, untouched.status) == (
        1,
        False,
        "ACTIVE",
    )
    assert browser.get("/v2/account").json()["id"] == str(other.public_id)


def test_a_reset_that_stopped_half_way_is_finished_and_no_other_account_is_closed(
    trader, monkeypatch
):
    other = open_account(user=trader.user, name="B", cash=Decimal(1), actor="test")
    browser = trader.browser()
    monkeypatch.setattr(kill_switch, "TRIES", 0)
    with monkeypatch.context() as crowded:
        crowded.setattr(locks, "WAITING_MAX", -1)
        half = post(browser, "reset", **RESET)
    assert half.status_code == 422
    assert named_by(half.content.decode(), "reset") == str(trader.account.public_id)
    assert named_by(shown(browser), "reset") == str(trader.account.public_id)
    assert trader.account.number in browser.get("/").content.decode()
    assert browser.get("/v2/account").json()["id"] == str(trader.account.public_id)

    browser = trader.browser()  # a session that knows nothing of it
    assert named_by(shown(browser), "reset") == str(other.public_id)
    link = f"/accounts?account={trader.account.public_id}"
    assert link.removeprefix("/accounts") in shown(browser)
    account = named_by(browser.get(link).content.decode(), "reset")
    post(browser, "reset", account=account, **RESET)

    assert Account.objects.get(pk=trader.account.pk).successor is not None
    assert Account.objects.get(pk=other.pk).status == "ACTIVE"


def test_without_an_account_only_another_can_be_opened(client):
    user = get_user_model().objects.create_user(username="new", password="sesame open")
    client.force_login(user)

    page = client.get("/accounts").content.decode()

    assert "Open another" in page
    assert "Begin anew" not in page
    for do in ("margin", "stop", "resume", "reset"):
        refused = client.post("/accounts", {"do": do, **MARGIN, **RESET})
        assert refused.status_code == 422


def test_nothing_of_others_can_be_chosen_or_moved(trader):
    stranger = a_trader()
    theirs = str(stranger.account.public_id)
    browser = trader.browser()
    fields = {
        "transfer-source": theirs,
        "transfer-target": str(trader.account.public_id),
        "transfer-amount": "1",
    }

    for answer in (
        post(browser, "choose", account=theirs),
        post(browser, "choose", account="x"),
        post(browser, "stop", account=theirs),
        post(browser, "resume", account=""),
        post(browser, "margin", account=theirs, **MARGIN),
        post(browser, "reset", account=theirs, **RESET),
        post(browser, "transfer", **fields),
        post(browser, "open", **{"open-name": "", "open-cash": "-1"}),
        post(browser, "dance"),
    ):
        assert answer.status_code == 422
    assert stranger.account.number not in shown(browser)
    untouched = Account.objects.get(pk=stranger.account.pk)
    assert (untouched.cash, untouched.multiplier, untouched.status) == (100_000, 1, "ACTIVE")
    assert not untouched.trading_suspended


def test_what_is_posted_from_elsewhere_is_refused(trader):
    browser = trader.browser(enforce_csrf_checks=True)

    assert browser.post("/accounts", {"do": "open"}).status_code == 403
