"""The page of a user's accounts, form by form."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from django.test import Client

from access import lookups
from portfolios.accounts import open_account
from portfolios.models import Account
from tests.people import Trader, a_trader
from tests.portfolios.factories import assert_books_balance

pytestmark = pytest.mark.django_db


@pytest.fixture
def trader() -> Trader:
    return a_trader(cash="1000")


def post(browser: Client, do: str, **fields: Any) -> Any:
    answer = browser.post("/accounts", {"do": do, **fields})
    lookups.forget_everyone()
    return answer


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


def test_beginning_anew_takes_a_word_and_leads_on_with_the_new_account(trader):
    browser = trader.browser()
    unsure = post(browser, "reset", **{"reset-cash": "5"})
    assert unsure.status_code == 422
    assert Account.objects.count() == 1

    post(browser, "reset", **{"reset-cash": "5", "reset-sure": "on"})

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
        post(browser, "transfer", **fields),
        post(browser, "open", **{"open-name": "", "open-cash": "-1"}),
        post(browser, "dance"),
    ):
        assert answer.status_code == 422
    assert stranger.account.number not in shown(browser)
    assert Account.objects.get(pk=stranger.account.pk).cash == 100_000


def test_what_is_posted_from_elsewhere_is_refused(trader):
    browser = trader.browser(enforce_csrf_checks=True)

    assert browser.post("/accounts", {"do": "open"}).status_code == 403
