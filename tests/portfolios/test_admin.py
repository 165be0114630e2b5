from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from events.models import Event
from portfolios.models import Account, Lot, Position, Posting
from portfolios.watchlists import create_watchlist
from tests.portfolios.factories import funded_account, make_instrument, make_user, trade

pytestmark = pytest.mark.django_db

MODELS = ["account", "posting", "position", "lot", "watchlist"]


@pytest.fixture
def operator() -> Any:
    return make_user(is_staff=True, is_superuser=True)


@pytest.fixture
def browser(operator) -> Client:
    client = Client()
    client.force_login(operator)
    return client


@pytest.fixture
def account() -> Account:
    account = funded_account()
    trade(account, "buy", "1", "10")
    create_watchlist(account_id=account.pk, name="Tech", instruments=[make_instrument()])
    return account


@pytest.mark.parametrize("model", MODELS)
def test_every_list_and_page_opens(browser, account, model):
    page = browser.get(reverse(f"admin:portfolios_{model}_changelist"))
    assert page.status_code == 200

    row = page.context["cl"].result_list[0]
    assert (
        browser.get(reverse(f"admin:portfolios_{model}_change", args=[row.pk])).status_code == 200
    )


@pytest.mark.parametrize("model", MODELS)
def test_a_list_costs_the_same_queries_however_long(browser, account, model):
    def cost() -> int:
        with CaptureQueriesContext(connection) as captured:
            assert browser.get(reverse(f"admin:portfolios_{model}_changelist")).status_code == 200
        return len(captured)

    few = cost()
    for number in range(5):
        other = funded_account()
        trade(other, "buy", "1", "10", instrument=make_instrument(f"SYM{number}"))
        create_watchlist(account_id=other.pk, name="Tech")

    assert cost() == few


@pytest.mark.parametrize("model", ["posting", "position", "lot", "account"])
def test_the_books_cannot_be_written_here_by_anybody(browser, account, model):
    row = {"posting": Posting, "position": Position, "lot": Lot, "account": Account}[model].objects
    pk = row.first().pk
    count = row.count()

    assert browser.post(reverse(f"admin:portfolios_{model}_add")).status_code == 403
    for page in ("change", "delete"):
        url = reverse(f"admin:portfolios_{model}_{page}", args=[pk])
        assert browser.post(url, {"post": "yes"}).status_code == 403
    browser.post(
        reverse(f"admin:portfolios_{model}_changelist"),
        {"action": "delete_selected", "_selected_action": [pk], "post": "yes"},
    )

    assert row.count() == count


def test_an_operator_freezes_and_unfreezes(browser, operator, account):
    def act(action: str) -> None:
        url = reverse("admin:portfolios_account_changelist")
        browser.post(url, {"action": action, "_selected_action": [account.pk]})

    act("freeze_accounts")
    assert Account.objects.get(pk=account.pk).frozen
    act("unfreeze_accounts")
    assert not Account.objects.get(pk=account.pk).frozen

    events = Event.objects.filter(kind__contains="frozen", account_id=account.pk)
    assert [event.actor for event in events] == [f"operator:{operator.pk}"] * 2


def test_who_may_only_look_cannot_freeze(account):
    viewer = make_user(is_staff=True)
    viewer.user_permissions.add(Permission.objects.get(codename="view_account"))
    client = Client()
    client.force_login(viewer)

    page = client.get(reverse("admin:portfolios_account_changelist"))
    client.post(
        reverse("admin:portfolios_account_changelist"),
        {"action": "freeze_accounts", "_selected_action": [account.pk]},
    )

    assert page.status_code == 200
    assert b"freeze_accounts" not in page.content
    assert not Account.objects.get(pk=account.pk).frozen
