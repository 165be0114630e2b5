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
    mark: Mark  # for the next question


def shut_out_since(mark: Mark | None) -> Lately:
    """Who was shut out since the mark of the last answer; None begins `LATE` before now."""
    now = datetime.now(UTC)
    disabled = Event.objects.using(DEFAULT_DB_ALIAS).filter(kind=DISABLED)
    if mark is None:
        early = disabled.filter(recorded_at__lt=now - LATE)
        mark = Mark(now, early.aggregate(newest=Max("pk"))["newest"] or 0)
    keys = ApiKey.objects.using(DEFAULT_DB_ALIAS).filter(revoked_at__gte=mark.at - LATE)
    of_key = dict(keys.values_list("key_id", "user_id"))
    lately = list(disabled.filter(pk__gt=mark.event).values_list("pk", "subject", "recorded_at"))
    user_ids = {int(subject.removeprefix("user:")) for _, subject, _ in lately}
    settled = (number for number, _, recorded_at in lately if recorded_at < now - LATE)
    next_mark = Mark(now, max(settled, default=mark.event))
    return Lately(of_key, disabled_users(sorted(user_ids)), next_mark)


def revoked_keys(key_ids: Sequence[str]) -> set[str]:
    """Those of the keys that were revoked."""
    keys = ApiKey.objects.using(DEFAULT_DB_ALIAS).exclude(revoked_at=None)
    return {
        key_id
        for begin in range(0, len(key_ids), ASKED_AT_ONCE)
        for key_id in keys.filter(key_id__in=key_ids[begin : begin + ASKED_AT_ONCE]).values_list(
            "key_id", flat=True
        )
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
