"""Actions on lists: they take what was ticked, ask before what cannot be undone, and say what was
not done.
"""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from access.keys import KEYS_PER_ACCOUNT_MAX, create_key
from access.models import ApiKey
from events.admin import ListAdmin
from portfolios.accounts import close_account
from portfolios.models import Account
from quotes.models import Instrument
from tests.people import a_trader, an_operator

pytestmark = pytest.mark.django_db

User = get_user_model()


@pytest.fixture
def floor() -> Client:
    return an_operator().browser()


def act(floor: Client, model: Any, action: str, *rows: Any, **fields: str) -> Any:
    """Tick rows of a list and run an action on them."""
    url = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
    ticked = [getattr(row, "pk", row) for row in rows]
    return floor.post(url, {"action": action, "_selected_action": ticked, **fields}, follow=True)


def test_every_list_takes_only_what_was_ticked() -> None:
    every = admin.site._registry.values()

    assert [each for each in every if not isinstance(each, ListAdmin)] == []
    assert len(every) > 20


@pytest.mark.parametrize(
    ("model", "action"),
    [
        (Account, "freeze_accounts"),
        (Account, "reset_accounts"),
        (ApiKey, "revoke"),
        (User, "disable"),
        (Instrument, "halt"),
    ],
)
def test_all_rows_at_once_are_refused(floor: Client, model: Any, action: str) -> None:
    a_trader()
    Instrument.objects.create(symbol="AIG")
    before = list(model.objects.order_by("pk").values())
    row = model.objects.first()

    for across in ("1", "on", "true"):
        page = act(floor, model, action, row, select_across=across)
        assert "nothing was done" in page.content.decode()
    page = act(floor, model, action, *range(row.pk, row.pk + 51))

    assert "at most 50 at a time; nothing was done" in page.content.decode()
    assert list(model.objects.order_by("pk").values()) == before


def test_a_list_longer_than_its_page_offers_to_tick_the_page_only(floor: Client) -> None:
    Instrument.objects.bulk_create(Instrument(symbol=f"T{number}") for number in range(51))
    url = reverse("admin:quotes_instrument_changelist")

    page = floor.get(url).content.decode()

    assert "0 of 50 selected" in page  # what the counter of Django's script needs
    assert "Select all 51" not in page
    assert "Show all" not in page
    act(floor, Instrument, "halt", *Instrument.objects.order_by("symbol")[:50])
    assert Instrument.objects.filter(halted=True).count() == 50


def staff_with(*codes: str) -> Client:
    """A member of staff who may look at accounts, and do this."""
    staff = a_trader(is_staff=True)
    codenames = ["view_account", *codes]
    staff.user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    return staff.browser()


def test_a_reset_is_asked_about_and_done_once(floor: Client) -> None:
    trader, other = a_trader(cash="5"), a_trader()

    page = act(floor, Account, "reset_accounts", trader.account).content.decode()

    assert "This cannot be undone" in page
    assert trader.account.number in page
    assert other.account.number not in page
    assert not Account.objects.exclude(status=Account.Status.ACTIVE).exists()
    hidden = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]+)"', page))
    assert hidden["_selected_action"] == str(trader.account.pk)
    url = reverse("admin:portfolios_account_changelist")
    assert "takes its place" in floor.post(url, hidden, follow=True).content.decode()
    assert "This was sent before" in floor.post(url, hidden, follow=True).content.decode()
    trader.account.refresh_from_db()
    assert trader.account.status == Account.Status.CLOSED
    assert Account.objects.get(predecessor=trader.account).cash == 100_000
    assert Account.objects.filter(user=trader.user).count() == 2


def test_the_question_costs_the_same_for_one_account_and_for_many(floor: Client) -> None:
    accounts = [a_trader().account for _ in range(5)]

    def cost(*rows: Account) -> int:
        with CaptureQueriesContext(connection) as queries:
            assert act(floor, Account, "reset_accounts", *rows).status_code == 200
        return len(queries)

    assert cost(*accounts) == cost(accounts[0])


@pytest.mark.parametrize(
    ("permission", "action"),
    [
        ("reset_account", "reset_accounts"),
        ("move_cash", "deposit_cash"),
        ("move_cash", "withdraw_cash"),
        ("move_cash", "transfer_cash"),
    ],
)
def test_to_freeze_is_not_to_reset_nor_to_move_cash(permission: str, action: str) -> None:
    account = a_trader(cash="100").account
    fields = {"amount": "1", "confirmed": "yes"}

    act(staff_with("change_account"), Account, action, account, **fields)
    account.refresh_from_db()
    assert (account.status, account.cash) == (Account.Status.ACTIVE, 100)

    page = act(staff_with(permission), Account, action, account, **fields).content.decode()
    assert "No action selected" not in page
    account.refresh_from_db()
    changed = (account.status, account.cash) != (Account.Status.ACTIVE, 100)
    assert changed or "account not found" in page.lower()


def test_a_key_that_cannot_be_made_is_refused_with_the_reason(floor: Client) -> None:
    crowded, closed = a_trader(), a_trader().account
    for _ in range(KEYS_PER_ACCOUNT_MAX - 1):
        create_key(account_id=crowded.account.pk, user=crowded.user, actor="test")
    close_account(account_id=closed.pk, actor="test")
    before, url = ApiKey.objects.count(), reverse("admin:access_apikey_add")

    def ask(account: Account) -> str:
        form = {"account": account.pk, "name": "robot"}
        return floor.post(url, form, follow=True).content.decode()

    assert "too many keys, revoke one first" in ask(crowded.account)
    assert "ccount is closed" in ask(closed)
    assert ApiKey.objects.count() == before
