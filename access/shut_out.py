"""Whom the database shuts out: what open sockets are checked by. Nothing here is remembered.

`shut_out_since` costs the same however many sockets ask, for it reads only what happened of late:
the keys by the time of their revocation, the users by the events of their being disabled, which
are written in the same transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from django.contrib.auth import get_user_model
from django.db import DEFAULT_DB_ALIAS
from django.db.models import Max

from access.models import ApiKey
from access.users import DISABLED
from events.models import Event

RESET = "access.account.reset"  # the event, by which open sockets of its keys find it
ASKED_AT_ONCE = 500
# A change is read again so long after it: rows are seen in the order of their commits, not of their
# numbers, and the clocks of machines differ.
LATE = timedelta(seconds=30)


class Mark(NamedTuple):
    """Up to where everything was read."""

    at: datetime
    event: int  # the newest that is too old for an earlier one to be committed still


class Lately(NamedTuple):
    """Who was shut out since a mark, and still is."""

    keys: dict[str, int]  # key → its user
    users: set[int]
    accounts: set[int]  # begun anew: their keys are another's now
    mark: Mark  # for the next question


def shut_out_since(mark: Mark | None) -> Lately:
    """Who was shut out since the mark of the last answer; None begins `LATE` before now."""
    now = datetime.now(UTC)
    events = Event.objects.using(DEFAULT_DB_ALIAS).filter(kind__in=(DISABLED, RESET))
    if mark is None:
        early = events.filter(recorded_at__lt=now - LATE)
        mark = Mark(now, early.aggregate(newest=Max("pk"))["newest"] or 0)
    keys = ApiKey.objects.using(DEFAULT_DB_ALIAS).filter(revoked_at__gte=mark.at - LATE)
    of_key = dict(keys.values_list("key_id", "user_id"))
    columns = ("pk", "kind", "subject", "account_id", "recorded_at")
    lately = list(events.filter(pk__gt=mark.event).values_list(*columns, named=True))
    user_ids = {int(one.subject.removeprefix("user:")) for one in lately if one.kind == DISABLED}
    accounts = {one.account_id for one in lately if one.kind == RESET}
    settled = (one.pk for one in lately if one.recorded_at < now - LATE)
    next_mark = Mark(now, max(settled, default=mark.event))
    return Lately(of_key, disabled_users(sorted(user_ids)), accounts, next_mark)


def accounts_of(key_ids: Sequence[str]) -> dict[str, int]:
    """The account that each of the keys is for now; revoked ones are for none."""
    keys = ApiKey.objects.using(DEFAULT_DB_ALIAS).filter(revoked_at=None)
    return {
        key_id: account_id
        for begin in range(0, len(key_ids), ASKED_AT_ONCE)
        for key_id, account_id in keys.filter(
            key_id__in=key_ids[begin : begin + ASKED_AT_ONCE]
        ).values_list("key_id", "account_id")
    }


def disabled_users(user_ids: Sequence[int]) -> set[int]:
    """Those of the users who are shut out."""
    users = get_user_model().objects.using(DEFAULT_DB_ALIAS).filter(is_active=False)
    return {
        user_id
        for begin in range(0, len(user_ids), ASKED_AT_ONCE)
        for user_id in users.filter(pk__in=user_ids[begin : begin + ASKED_AT_ONCE]).values_list(
            "pk", flat=True
        )
    }
