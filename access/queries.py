"""Reading keys."""

from __future__ import annotations

from django.db.models import F, QuerySet

from access.models import ApiKey

KEYS_SHOWN_MAX = 100


def account_keys(account_id: int) -> QuerySet[ApiKey]:
    """The account's keys, working ones first, newest first."""
    keys = ApiKey.objects.filter(account_id=account_id)
    return keys.order_by(F("revoked_at").desc(nulls_first=True), "-id")[:KEYS_SHOWN_MAX]
