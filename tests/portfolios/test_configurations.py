from __future__ import annotations

import pytest

from events.models import Event
from portfolios.configurations import configuration, configure
from portfolios.errors import ConfigurationInvalid
from portfolios.models import Account
from tests.portfolios.factories import assert_books_balance, funded_account

pytestmark = pytest.mark.django_db


def change(account: Account, **changes: object) -> dict[str, object]:
    configure(account_id=account.pk, changes=changes, actor="key:1")
    return configuration(Account.objects.get(pk=account.pk))


def events() -> list[Event]:
    return list(Event.objects.filter(kind="portfolios.account.configured"))


@pytest.mark.parametrize("name", ["suspend_trade", "no_shorting", "fractional_trading"])
def test_a_choice_is_kept_and_can_be_taken_back(name):
    account = funded_account()
    before = configuration(account)

    assert change(account, **{name: not before[name]}) == {**before, name: not before[name]}
    assert change(account, **{name: before[name]}) == before
    assert_books_balance(account)


def test_null_leaves_a_choice_as_it_is():
    account = funded_account()
    change(account, suspend_trade=True)

    assert change(account, suspend_trade=None, no_shorting=True)["suspend_trade"] is True


def test_what_a_client_reads_it_may_send_back():
    account = funded_account()

    assert change(account, **configuration(account)) == configuration(account)
    assert events() == []


def test_the_event_says_what_changed_from_what():
    account = funded_account()

    change(account, suspend_trade=True, no_shorting=False)

    (event,) = events()
    assert event.actor == "key:1"
    assert event.payload == {"before": {"suspend_trade": False}, "after": {"suspend_trade": True}}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("suspend_trade", "true"),
        ("suspend_trade", 1),
        ("no_shorting", []),
        ("max_margin_multiplier", "3"),
        ("max_margin_multiplier", 2),
        ("max_margin_multiplier", ["2"]),
        ("trade_confirm_email", "all"),
        ("ptp_no_exception_entry", True),
        ("ptp_no_exception_entry", 0),
        ("pdt_check", "both"),
        ("max_options_trading_level", 2),
    ],
)
def test_what_this_venue_does_not_offer_is_refused_rather_than_forgotten(name, value):
    account = funded_account()

    with pytest.raises(ConfigurationInvalid, match=name):
        change(account, **{"suspend_trade": True, name: value})

    assert not Account.objects.get(pk=account.pk).trading_suspended
    assert events() == []
