"""What a person fills in on the page of their accounts."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any
from uuid import UUID

from django import forms

from portfolios.accounts import STARTING_CASH
from portfolios.models import Account


def dollars(**kwargs: Any) -> forms.DecimalField:
    """Dollars and cents, a cent at least."""
    return forms.DecimalField(min_value=Decimal("0.01"), max_digits=18, decimal_places=2, **kwargs)


class OpenForm(forms.Form):
    name = forms.CharField(max_length=64, initial="Paper")
    cash = dollars(label="It starts with, USD", initial=STARTING_CASH)


class ResetForm(forms.Form):
    cash = dollars(label="The new book starts with, USD", initial=STARTING_CASH)
    sure = forms.BooleanField(label="Cancel its orders and close this book for good")


class MarginForm(forms.Form):
    """How an account trades, in the words of its configurations."""

    max_margin_multiplier = forms.ChoiceField(
        label="It trades with",
        choices=[
            ("1", "its cash"),
            ("2", "margin: half of a position is its own"),
            ("4", "intraday margin: a quarter, during the session"),
        ],
    )
    no_shorting = forms.BooleanField(label="Never sell short", required=False)


class TransferForm(forms.Form):
    """Between two of the accounts it is made with."""

    source = forms.TypedChoiceField(label="From", coerce=UUID)
    target = forms.TypedChoiceField(label="To", coerce=UUID)
    amount = dollars(label="USD")

    def __init__(self, *args: Any, accounts: Iterable[Account], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        choices = [(str(one.public_id), f"{one.name} · {one.number}") for one in accounts]
        for name in ("source", "target"):
            self.fields[name].choices = choices  # type: ignore[attr-defined]
