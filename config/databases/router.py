"""Which database serves a query: Django asks this for every one.

Writes, transactions and everything outside a reading request go to the primary; so does what
people, sessions and keys are made of. Market data is read from a replica. What belongs to an
account is too, once the account is known and has not changed just now (`pinning`). While the
primary is away everything but what has just changed is read from a replica (`outage`). With the
hint `newest=True` a reader asks for the primary wherever it answers.
"""

from __future__ import annotations

from typing import Any

from django.db import DEFAULT_DB_ALIAS as PRIMARY
from django.db import connections
from django.db.models import Model

from config.databases import health, pinning
from config.databases.outage import PrimaryAway
from config.databases.reading import Reading, current
from events import acting

# An app that is in neither stays on the primary.
OF_EVERYONE = frozenset({"quotes"})
OF_AN_ACCOUNT = frozenset({"portfolios", "trading", "events"})
# Whoever asks these decides by the answer: it must not be an old one.
DECISIVE = frozenset({"events.lease", "quotes.marketclock"})


class Router:
    """Django's database router; see the module."""

    def db_for_read(self, model: type[Model], **hints: Any) -> str:
        reading = current()
        if reading is None or connections[PRIMARY].in_atomic_block:
            return PRIMARY
        alias = self._choose(model, reading, hints)
        if alias == PRIMARY and health.primary_is_away():
            raise PrimaryAway("the primary does not answer")
        return alias

    def _choose(self, model: type[Model], reading: Reading, hints: dict[str, Any]) -> str:
        if reading.on_primary or (hints.get("newest") and not health.primary_is_away()):
            return PRIMARY
        instance = hints.get("instance")
        if instance is not None and instance._state.db == PRIMARY:
            return PRIMARY  # what belongs to a row may be as new as the row
        if not may_leave_primary(model, reading):
            return PRIMARY
        if reading.replica is None:
            reading.replica = health.next_replica()
        return reading.replica or PRIMARY

    def db_for_write(self, model: type[Model], **hints: Any) -> str:
        reading = current()
        if reading is not None and not health.primary_is_away():
            reading.on_primary = True
        return PRIMARY

    def allow_relation(self, one: Model, other: Model, **hints: Any) -> bool:
        return True  # every alias is the same database

    def allow_migrate(self, alias: str, app_label: str, **hints: Any) -> bool:
        return alias == PRIMARY


def may_leave_primary(model: type[Model], reading: Reading) -> bool:
    """Whether an old answer about these rows does no harm to this request."""
    if model._meta.label_lower in DECISIVE:
        return health.primary_is_away()
    if model._meta.app_label in OF_EVERYONE:
        return True
    account_id = acting.account_id.get()
    if model._meta.app_label not in OF_AN_ACCOUNT or account_id is None:
        return health.primary_is_away()
    if account_id not in reading.pinned:
        reading.pinned[account_id] = pinning.is_pinned(account_id)
    return not reading.pinned[account_id]
