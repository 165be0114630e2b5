"""Instruments changed by an operator's hand."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.test import Client
from django.urls import reverse

from events.models import Event
from quotes.admin import InstrumentAdmin
from quotes.instruments import change_instrument
from quotes.listings import get_asset
from quotes.models import Instrument
from tests.admin_pages import OpenPage
from tests.api import recording

pytestmark = pytest.mark.django_db

FORM = {
    "name": "American International",
    "exchange": "NASDAQ",
    "status": "active",
    "fractionable": "on",
    "marginable": "on",
    "shortable": "on",
    "easy_to_borrow": "on",
}


@pytest.fixture
def operator() -> Any:
    return get_user_model().objects.create_superuser("boss")


@pytest.fixture
def floor(operator: Any) -> Client:
    recording.play(("AIG",))
    client = Client()
    client.force_login(operator)
    return client


def page_of(instrument: Instrument) -> str:
    return reverse("admin:quotes_instrument_change", args=[instrument.pk])


def test_a_change_is_recorded_and_seen_at_once(
    floor: Client, operator: Any, django_capture_on_commit_callbacks: Any
) -> None:
    aig = Instrument.objects.get()
    Instrument.objects.update(name="AIG", exchange="NASDAQ")
    assert get_asset("AIG")["tradable"]

    page, changes = OpenPage(floor, page_of(aig)), {"name": FORM["name"], "tradable": None}
    with django_capture_on_commit_callbacks(execute=True):
        assert page.send(**changes).status_code == 302

    event = Event.objects.get(kind="quotes.instrument.changed")
    assert (event.actor, event.subject) == (f"operator:{operator.pk}", f"instrument:{aig.pk}")
    assert event.payload == {
        "symbol": "AIG",
        "before": {"name": "AIG", "tradable": True},
        "after": {"name": "American International", "tradable": False},
    }
    assert not get_asset("AIG")["tradable"]
    page.send(**changes)
    assert Event.objects.filter(kind="quotes.instrument.changed").count() == 1


def test_a_halt_of_meanwhile_stays(floor: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    save_form = InstrumentAdmin.save_form

    def after_a_halt(self: Any, request: Any, form: Any, change: bool) -> Any:
        Instrument.objects.update(halted=True, halt_reason="news pending")
        return save_form(self, request, form, change)

    monkeypatch.setattr(InstrumentAdmin, "save_form", after_a_halt)

    OpenPage(floor, page_of(Instrument.objects.get())).send(tradable=None)

    aig = Instrument.objects.get()
    assert (aig.tradable, aig.halted, aig.halt_reason) == (False, True, "news pending")


def test_a_page_left_open_undoes_nothing_that_was_done_meanwhile(floor: Client) -> None:
    aig = Instrument.objects.get()
    left_open = OpenPage(floor, page_of(aig))

    OpenPage(floor, page_of(aig)).send(status="inactive", tradable=None)
    left_open.send(name="American International")

    aig.refresh_from_db()
    assert (aig.status, aig.tradable, aig.name) == ("inactive", False, "American International")


def test_a_new_instrument_is_recorded(floor: Client) -> None:
    floor.post(reverse("admin:quotes_instrument_add"), {**FORM, "symbol": "NEW"})

    new = Instrument.objects.get(symbol="NEW")
    event = Event.objects.get(kind="quotes.instrument.added")
    assert event.subject == f"instrument:{new.pk}"
    assert event.payload["symbol"] == "NEW"
    assert event.payload["tradable"] is False


def test_only_its_terms_are_changed_here(floor: Client) -> None:
    with pytest.raises(AssertionError):
        change_instrument(
            instrument_id=Instrument.objects.get().pk, changes={"halted": True}, actor="test"
        )
