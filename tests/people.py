"""People with accounts and keys, made by the use cases that make them in earnest."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.contrib.auth import get_user_model
from django.test import Client

from access.keys import create_key
from portfolios.accounts import open_account
from portfolios.models import Account

_numbers = itertools.count(1)


@dataclass(frozen=True)
class Trader:
    """A user with one funded account and one key to it."""

    user: Any
    account: Account
    key_id: str
    secret: str

    @property
    def headers(self) -> dict[str, str]:
        return {"APCA-API-KEY-ID": self.key_id, "APCA-API-SECRET-KEY": self.secret}

    def client(self, **kwargs: Any) -> Client:
        """A program's client: the key with every request, no cookies."""
        return Client(headers=self.headers, **kwargs)

    def browser(self, **kwargs: Any) -> Client:
        """A browser that has logged in."""
        client = Client(**kwargs)
        client.force_login(self.user)
        return client


def a_trader(*, cash: str = "100000", **user_fields: Any) -> Trader:
    name = f"trader{next(_numbers)}"
    user = get_user_model().objects.create_user(
        username=name, password="sesame open", **user_fields
    )
    account = open_account(user=user, cash=Decimal(cash), actor=f"user:{user.pk}")
    key, secret = create_key(account_id=account.pk, user=user, actor=f"user:{user.pk}")
    return Trader(user, account, key.key_id, secret)


def an_operator() -> Trader:
    """A trader who is also staff, with every permission."""
    return a_trader(is_staff=True, is_superuser=True)
