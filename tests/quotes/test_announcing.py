"""Operators announce corporate actions in admin and by command."""

from __future__ import annotations

from decimal import Decimal
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse

from events import commands
from events.models import Event
from quotes.models import CorporateAction
from tests.people import an_operator
from tests.portfolios.factories import make_instrument, new_york
from tests.portfolios.market import set_market_time

pytestmark = pytest.mark.django_db

ADD = reverse("admin:quotes_corporateaction_add")
LIST = reverse("admin:quotes_corporateaction_changelist")


@pytest.fixture
def browser() -> Client:
    make_instrument("AAPL")
    set_market_time(new_york("2013-10-07 12:00"))
    return an_operator().browser()


def post(browser: Client, **terms: object):
    instrument = make_instrument("AAPL").pk
    return browser.post(ADD, {"instrument": instrument, "ex_on": "2013-10-08", **terms})


def test_a_dividend_and_a_split_are_announced_shown_and_called_off(browser):
    assert browser.get(ADD).status_code == 200
    dividend = post(browser, kind="cash_dividend", per_share="0.25")
    split = post(browser, kind="split", new_shares="4", old_shares="1")

    assert (dividend.status_code, split.status_code) == (302, 302)
    first, second = CorporateAction.objects.order_by("pk")
    assert (first.per_share, str(first.payable_on)) == (Decimal("0.25"), "2013-10-08")
    assert str(second) == "AAPL split 4:1"
    page = browser.get(LIST)
    assert b"AAPL dividend 0.25" in page.content
    detail = reverse("admin:quotes_corporateaction_change", args=[first.pk])
    assert browser.get(detail).status_code == 200

    browser.post(LIST, {"action": "cancel", "_selected_action": [first.pk]})
    first.refresh_from_db()
    assert first.status == "canceled"


@pytest.mark.parametrize(
    ("terms", "says"),
    [
        ({"kind": "cash_dividend"}, "amount per share"),
        ({"kind": "split", "new_shares": "1", "old_shares": "1"}, "changes the number"),
        ({"kind": "split", "new_shares": "2"}, "between 1:1000"),
        ({"kind": "split", "new_shares": "2", "old_shares": "1", "ex_on": ""}, "required"),
    ],
)
def test_what_is_refused_is_said_on_the_form_and_stores_nothing(browser, terms, says):
    page = post(browser, **terms)

    assert page.status_code == 200
    assert says in page.content.decode()
    assert not CorporateAction.objects.exists()


def command(*arguments: str) -> str:
    out = StringIO()
    call_command("announce_action", *arguments, stdout=out)
    return out.getvalue()


def test_the_command_announces_either(browser):
    said = command("AAPL", "--split", "4:1", "--ex", "2013-10-08")
    assert said == "announced: AAPL split 4:1, carried out at 2013-10-08 00:00 UTC\n"
    assert "dividend 0.25" in command("AAPL", "--dividend", "0.25", "--ex", "2013-10-08")
    actors = Event.objects.filter(kind__endswith=".announced").values_list("actor", flat=True)
    assert list(actors) == [commands.operator()] * 2


@pytest.mark.parametrize(
    "arguments",
    [
        ["AAPL", "--split", "4", "--ex", "2013-10-08"],
        ["AAPL", "--dividend", "much", "--ex", "2013-10-08"],
        ["AAPL", "--dividend", "1", "--ex", "soon"],
        ["AAPL", "--ex", "2013-10-08"],
        ["NONE", "--split", "4:1", "--ex", "2013-10-08"],
    ],
)
def test_the_command_refuses_with_a_sentence(browser, arguments):
    with pytest.raises(CommandError):
        command(*arguments)
    assert not CorporateAction.objects.exists()
