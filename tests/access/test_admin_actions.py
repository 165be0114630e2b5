"""Actions on lists: they take what was ticked, ask before what cannot be undone, and say what was
not done.
"""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.test import Client
from django.urls import reverse

from access.models import ApiKey
from events.admin import ListAdmin
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
