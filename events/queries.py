"""Reading the log."""

from __future__ import annotations

from django.db.models import QuerySet

from events.models import Event


def account_events(account_id: int, *, since: int, limit: int) -> QuerySet[Event]:
    """The account's events numbered above `since`, in their order, at most `limit`."""
    events = Event.objects.filter(account_id=account_id, account_sequence__gt=since)
    return events.order_by("account_sequence")[:limit]


def count_unchained() -> int:
    """How many events the relay has not given their place yet."""
    return Event.objects.filter(sequence=None).count()
