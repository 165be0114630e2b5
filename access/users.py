"""Users: shut out, and let in again."""

from __future__ import annotations

from functools import partial
from typing import Any

from django.contrib.auth import get_user_model
from django.db import transaction

from access import lookups
from events import log
from events.errors import NotFound
from events.transactions import retried
from quotes.streaming.bus import CONTROL, bus

DISABLED = "access.user.disabled"  # the event, by which open sockets find it, too


@retried
@transaction.atomic(durable=True)
def disable_user(*, user_id: int, actor: str) -> Any:
    """Shut the user out: sessions, keys and open sockets end. Raises NotFound."""
    user = lock_user(user_id)

    if not user.is_active:
        return user

    user.is_active = False
    user.save(update_fields=["is_active"])

    log.record(DISABLED, actor=actor, subject=f"user:{user_id}")

    transaction.on_commit(partial(_announce, "user_disabled", user_id))
    return user


@retried
@transaction.atomic(durable=True)
def enable_user(*, user_id: int, actor: str) -> Any:
    """Let the user in again, with the keys they had. Raises NotFound."""
    user = lock_user(user_id)

    if user.is_active:
        return user

    user.is_active = True
    user.save(update_fields=["is_active"])

    log.record("access.user.enabled", actor=actor, subject=f"user:{user_id}")

    transaction.on_commit(partial(_announce, "user_enabled", user_id))
    return user


def lock_user(user_id: int) -> Any:
    """The user, whom nobody else changes before this transaction ends. Raises NotFound."""
    user = get_user_model().objects.select_for_update().filter(pk=user_id).first()
    if user is None:
        raise NotFound("user not found")
    return user


def _announce(kind: str, user_id: int) -> None:
    lookups.user_changed(user_id)
    bus().publish(CONTROL, {"kind": kind, "user_id": user_id})
