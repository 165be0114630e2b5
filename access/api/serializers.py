"""The shapes of the endpoints of keys and accounts."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from rest_framework import serializers

from portfolios.accounts import STARTING_CASH


class NewKey(serializers.Serializer):
    name = serializers.CharField(
        default="", allow_blank=True, max_length=64, help_text="what the key is for"
    )


class Key(serializers.Serializer):
    key_id = serializers.CharField()
    name = serializers.CharField()
    created_at = serializers.DateTimeField()
    last_used_at = serializers.DateTimeField(allow_null=True, help_text="to the hour")
    revoked_at = serializers.DateTimeField(allow_null=True)


class KeyWithSecret(Key):
    secret = serializers.CharField(help_text="shown in this answer and never again")


class Dollars(serializers.DecimalField):
    """Dollars and cents, as a JSON number or string."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_digits=18, decimal_places=2, min_value=Decimal("0.01"), **kwargs)


class NewBook(serializers.Serializer):
    cash = Dollars(default=STARTING_CASH, help_text="what it begins with")


class NewAccount(NewBook):
    name = serializers.CharField(default="Paper", max_length=64)


class AccountChoice(serializers.Serializer):
    account_id = serializers.UUIDField()


class OwnAccount(serializers.Serializer):
    id = serializers.UUIDField()
    account_number = serializers.CharField()
    name = serializers.CharField()
    status = serializers.CharField(help_text="ACTIVE or ACCOUNT_CLOSED")
    cash = serializers.CharField()
    created_at = serializers.DateTimeField()
    is_current = serializers.BooleanField(help_text="the one this credential acts for")
    successor = serializers.UUIDField(
        allow_null=True, help_text="the account that took the place of one that was reset"
    )


class NewTransfer(serializers.Serializer):
    from_account = serializers.UUIDField(help_text="id of the account that pays")
    to_account = serializers.UUIDField(help_text="id of the account that is paid")
    amount = Dollars()


class Transfer(serializers.Serializer):
    amount = serializers.CharField()
    from_account = OwnAccount()
    to_account = OwnAccount()
