"""Who a key or a user is, remembered for two seconds.

Every request and every socket asks this, so a warm answer costs no query. What changes in another
process is seen when the memory runs out; what changes in this one is forgotten at once. Unknown
keys are not remembered, so that guessing them fills no memory.

Whose screen asks every ten seconds is known to no memory by then. So users have one record in the
cache that all processes share, too; whoever changes a user or opens an account drops it.
"""

from __future__ import annotations

import hmac
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Generic, TypeVar

from django.contrib.auth import get_user_model
from django.core.cache import caches
from django.db import DEFAULT_DB_ALIAS, DatabaseError, router, transaction
from django.db.models.signals import post_save

from access.models import ApiKey, hash_secret
from events.reads import Wanted, find_rows, find_together
from portfolios.models import Account

STALE_SECONDS = 2.0
RENEW_SECONDS = 1.5  # from then on one caller loads anew, and the others go on with what is known
REMEMBERED_MAX = 10_000
ACCOUNTS_PER_USER_MAX = 100
# `last_used_at` is told to the hour: a write for every request would cost more than it says.
USE_NOTED_EVERY = timedelta(hours=1)
CACHE, RECORDS = "quotes", "users"
# What a request asks of its user; no password, not even its hash.
USER_COLUMNS = frozenset({"id", "username", "is_active", "is_staff", "is_superuser"})

logger = logging.getLogger(__name__)

Key = TypeVar("Key")
Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class KnownKey:
    """A key that works: not revoked, of a user who is not disabled."""

    key_id: str
    secret_hash: str
    account_id: int
    user: Any
    last_used_at: datetime | None

    def opens_with(self, secret: str) -> bool:
        """Compare in constant time, so that a guess learns nothing from how long it took."""
        return hmac.compare_digest(hash_secret(secret), self.secret_hash)


@dataclass(frozen=True, slots=True)
class KnownUser:
    """A user who is not disabled, and the accounts that are theirs, open ones first, oldest first.

    Of the user's columns only those that decide what they may do are loaded.
    """

    user: Any
    public_ids: dict[int, str]  # by account, in that order
    session_hashes: tuple[str, ...]  # a login session of theirs carries one of them

    @property
    def account_ids(self) -> tuple[int, ...]:
        return tuple(self.public_ids)


@dataclass(slots=True)
class Entry(Generic[Value]):
    """A value since when, and who has taken it upon themselves to renew it."""

    value: Value
    since: float  # monotonic
    is_asked_for: bool = False  # one who may not load was sent to one who may
    is_renewed: bool = False  # somebody loads it anew


class Memory(Generic[Key, Value]):
    """A bounded map that loads what it misses and forgets after `STALE_SECONDS`.

    What is asked for all the time is renewed before that, by one caller: otherwise all who ask at
    the moment of forgetting would load it at once.
    """

    def __init__(self, load: Callable[[Key], Value | None]) -> None:
        self._load = load
        self._entries: OrderedDict[Key, Entry[Value]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Key) -> Value | None:
        entry = self._entries.get(key)
        if entry is not None and not self._has_to_load(entry):
            return entry.value
        value = self._load(key)
        self.forget(key)
        if value is not None:
            self.keep(key, value)
        return value

    def remembered(self, key: Key, *, may_wait: bool) -> Value | None:
        """What is known without loading; None also for whom it falls to see that `get` renews it.

        That is the first caller, or each who may wait.
        """
        entry = self._entries.get(key)
        age = STALE_SECONDS if entry is None else time.monotonic() - entry.since
        if entry is None or age >= STALE_SECONDS:
            return None
        if age >= RENEW_SECONDS and (may_wait or not entry.is_asked_for):
            entry.is_asked_for = True
            return None
        return entry.value

    def last(self, key: Key) -> Value | None:
        """What was known last, of late or not: a guess, for whoever looks anew."""
        entry = self._entries.get(key)
        return None if entry is None else entry.value

    def forget(self, key: Key) -> None:
        with self._lock:
            self._entries.pop(key, None)

    def clear(self) -> None:
        with self._lock:
            self._entries.clear()

    def keep(self, key: Key, value: Value) -> None:
        with self._lock:
            self._entries[key] = Entry(value, time.monotonic())
            while len(self._entries) > REMEMBERED_MAX:
                self._entries.popitem(last=False)

    def _has_to_load(self, entry: Entry[Value]) -> bool:
        age = time.monotonic() - entry.since
        if age < RENEW_SECONDS or age >= STALE_SECONDS:
            return age >= STALE_SECONDS
        with self._lock:
            is_first, entry.is_renewed = not entry.is_renewed, True
        return is_first


def find_key(key_id: str) -> KnownKey | None:
    """The working key of this id."""
    return _keys.get(key_id)


def remembered_key(key_id: str, *, may_wait: bool) -> KnownKey | None:
    """The same, but never asks the database: None where `find_key` has to be asked.

    For a key that nobody used of late, and now and then to renew what is known of the others.
    """
    return _keys.remembered(key_id, may_wait=may_wait)


def find_user(user_id: int, *, chosen: object = None) -> KnownUser | None:
    """The user of this id, unless disabled.

    The account that their session names (`chosen`) is among theirs even where they have more than
    are kept; one of somebody else never is.
    """
    known = _users.get(user_id)
    if known is not None and not known.account_ids:
        user_changed(user_id)  # about to open one; then the next request must see it
    return known if known is None else _with_account(known, chosen)


def find_user_anew(user_id: int, *, chosen: object = None) -> KnownUser | None:
    """The same, past this process's memory: another one may have opened them an account since."""
    _users.forget(user_id)
    return find_user(user_id, chosen=chosen)


def _with_account(known: KnownUser, chosen: object) -> KnownUser:
    """The same user and the account chosen, which may be theirs beyond the accounts that are kept.

    An account that was begun anew is closed, and the last of them all.
    """
    are_all_kept = len(known.account_ids) < ACCOUNTS_PER_USER_MAX
    if are_all_kept or not isinstance(chosen, int) or chosen in known.public_ids:
        return known
    public_id = _further.get((known.user.pk, chosen))
    if public_id is None:
        return known
    return replace(known, public_ids={**known.public_ids, chosen: public_id})


def forget_key(key_id: str) -> None:
    _keys.forget(key_id)


def forget_user(user_id: int) -> None:
    """Forget the user, and all keys, because any of them may be theirs; in this process."""
    _users.forget(user_id)
    _further.clear()
    _keys.clear()


def user_changed(user_id: int) -> None:
    """Forget the user in this process, and their record in all. Call it after the commit."""
    caches[CACHE].forget(RECORDS, [str(user_id)])  # type: ignore[attr-defined]
    forget_user(user_id)


def forget_everyone() -> None:
    caches[CACHE].forget(RECORDS)  # type: ignore[attr-defined]
    _users.clear()
    _further.clear()
    _keys.clear()


def note_use(known: KnownKey) -> None:
    """Write down, at most hourly, that the key let someone in; a failure refuses nobody."""
    now = datetime.now(UTC)
    if known.last_used_at is not None and known.last_used_at > now - USE_NOTED_EVERY:
        return
    try:
        ApiKey.objects.filter(key_id=known.key_id).update(last_used_at=now)
    except DatabaseError:
        logger.warning("could not note the use of key %s", known.key_id, exc_info=True)
    _keys.keep(known.key_id, replace(known, last_used_at=now))


def _load_key(key_id: str) -> KnownKey | None:
    """The key, and its user: in one trip where memory says whose it was."""
    using, user_model = router.db_for_read(ApiKey), get_user_model()
    last = _keys.last(key_id)
    held_by = set() if last is None else {last.user.pk}
    keys, users = find_together(
        Wanted(ApiKey, key_id=key_id), Wanted(user_model, id=held_by), using=using
    )
    for key in keys:
        if key.user_id not in held_by:
            users = find_rows(user_model, using=using, id=key.user_id)
        for user in users:
            if key.revoked_at is None and user.is_active:
                return KnownKey(key.key_id, key.secret_hash, key.account_id, user, key.last_used_at)
    return None


def _load_user(user_id: int) -> KnownUser | None:
    key = str(user_id)
    found = caches[CACHE].get_or_load_many(RECORDS, [key], _read_users)  # type: ignore[attr-defined]
    if key not in found:
        return None
    record = found[key]
    columns = record["user"]
    user = get_user_model().from_db(DEFAULT_DB_ALIAS, list(columns), list(columns.values()))
    return KnownUser(user, dict(record["accounts"]), tuple(record["session_hashes"]))


def _read_users(keys: list[str]) -> dict[str, Any]:
    return {key: record for key in keys if (record := _read_user(int(key))) is not None}


def _read_user(user_id: int) -> dict[str, Any] | None:
    """What is kept of a user; one query for one who has accounts."""
    accounts = list(
        Account.objects.filter(user_id=user_id, user__is_active=True)
        .select_related("user")
        .order_by("-status", "pk")[:ACCOUNTS_PER_USER_MAX]  # ACTIVE before ACCOUNT_CLOSED
    )
    user: Any = accounts[0].user if accounts else _user_without_accounts(user_id)
    if user is None:
        return None
    return {
        "user": {
            field.attname: getattr(user, field.attname)
            for field in user._meta.concrete_fields  # in this order they are put back
            if field.attname in USER_COLUMNS
        },
        "accounts": [(account.pk, str(account.public_id)) for account in accounts],
        "session_hashes": [user.get_session_auth_hash(), *user.get_session_auth_fallback_hash()],
    }


def _user_without_accounts(user_id: int) -> Any:
    return get_user_model().objects.filter(pk=user_id, is_active=True).first()


def _load_further(named: tuple[int, int]) -> str | None:
    """The public id of a user's account."""
    user_id, account_id = named
    found = Account.objects.filter(pk=account_id, user_id=user_id)
    public_id = found.values_list("public_id", flat=True).first()
    return None if public_id is None else str(public_id)


def watch_changes() -> None:
    """Drop a user's record when the user is saved, or an account of theirs is opened or closed."""
    post_save.connect(_user_saved, get_user_model(), dispatch_uid="lookups")
    post_save.connect(_account_saved, Account, dispatch_uid="lookups")


def _user_saved(instance: Any, update_fields: Any, **_: Any) -> None:
    if update_fields is None or set(update_fields) != {"last_login"}:
        transaction.on_commit(partial(user_changed, instance.pk))


def _account_saved(instance: Account, created: bool, update_fields: Any, **_: Any) -> None:
    if created or "status" in (update_fields or ()):
        transaction.on_commit(partial(user_changed, instance.user_id))


_keys: Memory[str, KnownKey] = Memory(_load_key)
_users: Memory[int, KnownUser] = Memory(_load_user)
# By user and account: those beyond ACCOUNTS_PER_USER_MAX.
_further: Memory[tuple[int, int], str] = Memory(_load_further)
