"""API keys: create and revoke."""

from __future__ import annotations

import base64
import secrets
from datetime import UTC, datetime
from functools import partial
from typing import Any

from django.db import transaction

from access import lookups
from access.errors import TooManyKeys
from access.models import ApiKey, hash_secret
from events import log
from events.errors import NotFound
from events.transactions import retried
from portfolios.errors import AccountClosed
from portfolios.locks import lock_account
from portfolios.models import Account
from quotes.streaming.bus import CONTROL, bus

# Enough for one key per program and machine, few enough that an operator can read the list.
KEYS_PER_ACCOUNT_MAX = 20


@retried
@transaction.atomic
def create_key(*, account_id: int, user: Any, name: str = "", actor: str) -> tuple[ApiKey, str]:
    """Create a key for the user's own account; the secret is returned here and never again.

    May run inside a larger transaction, so that signing up is one change.
    Raises NotFound when the account is not the user's, AccountClosed, TooManyKeys at the bound.
    """
    account = lock_account(account_id)

    if account.user_id != user.pk:
        raise NotFound("account not found")
    if account.status != Account.Status.ACTIVE:
        raise AccountClosed(account_number=account.number)
    if ApiKey.objects.filter(account=account, revoked_at=None).count() >= KEYS_PER_ACCOUNT_MAX:
        raise TooManyKeys(maximum=KEYS_PER_ACCOUNT_MAX)

    secret = secrets.token_urlsafe(32)
    key = ApiKey.objects.create(
        key_id=_new_key_id(),
        secret_hash=hash_secret(secret),
        account=account,
        user=user,
        name=name,
    )

    _record("access.key.created", key, account, actor)
    return key, secret


@retried
@transaction.atomic(durable=True)
def revoke_key(*, account_id: int, key_id: str, actor: str) -> ApiKey:
    """Revoke a key of this account for good; revoking it again changes nothing.

    Raises NotFound when the account has no such key.
    """
    account = lock_account(account_id)
    key = ApiKey.objects.select_for_update().filter(account=account, key_id=key_id).first()

    if key is None:
        raise NotFound("key not found")
    if key.revoked_at is not None:
        return key

    key.revoked_at = datetime.now(UTC)
    key.save(update_fields=["revoked_at"])

    _record("access.key.revoked", key, account, actor)

    transaction.on_commit(partial(_announce_revoked, key_id))
    return key


def _new_key_id() -> str:
    return "OB" + base64.b32encode(secrets.token_bytes(12)).decode()[:18]


def _record(kind: str, key: ApiKey, account: Any, actor: str) -> None:
    log.record(
        kind,
        actor=actor,
        subject=f"key:{key.key_id}",
        account=account,
        payload={"key_id": key.key_id},
    )
    account.save(update_fields=["event_sequence"])


def _announce_revoked(key_id: str) -> None:
    lookups.forget_key(key_id)
    bus().publish(CONTROL, {"kind": "key_revoked", "key_id": key_id})
