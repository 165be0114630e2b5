"""Watchlists: named, ordered lists of instruments, a bounded number of bounded length.

They are no part of the books: nothing here writes to the account's event log, and each change takes
the request's Idempotency-Key itself. A change locks the one watchlist, a new one the account, for
their number is bounded; two of a name, the unique index refuses.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import Prefetch, QuerySet
from django.utils import timezone

from events import idempotency
from events.transactions import retried
from portfolios.errors import WatchlistInvalid, WatchlistNameTaken, WatchlistNotFound
from portfolios.locks import lock_account
from portfolios.models import Watchlist, WatchlistEntry
from quotes.models import Instrument

NAME_LENGTH_MAX = 64
WATCHLISTS_MAX = 200  # per account
ENTRIES_MAX = 500  # per watchlist


def account_watchlists(account_id: int) -> list[Watchlist]:
    """The account's watchlists with their entries loaded, oldest first."""
    return list(_loaded(account_id).order_by("pk")[:WATCHLISTS_MAX])


def get_watchlist(account_id: int, public_id: UUID) -> Watchlist:
    """One watchlist of the account, entries loaded. Raises WatchlistNotFound."""
    return _get(account_id, public_id=public_id)


def get_watchlist_by_name(account_id: int, name: str) -> Watchlist:
    """One watchlist of the account, entries loaded. Raises WatchlistNotFound."""
    return _get(account_id, name=name.strip())


def _get(account_id: int, **which: Any) -> Watchlist:
    try:
        return _loaded(account_id).get(**which)
    except Watchlist.DoesNotExist:
        raise WatchlistNotFound from None


def _loaded(account_id: int) -> QuerySet[Watchlist]:
    entries = WatchlistEntry.objects.select_related("instrument").order_by("pk")
    return (
        Watchlist.objects.filter(account_id=account_id)
        .select_related("account")
        .prefetch_related(Prefetch("entries", entries))
    )


@retried
@transaction.atomic(durable=True)
def create_watchlist(
    *, account_id: int, name: str, instruments: Sequence[Instrument] = ()
) -> Watchlist:
    """Create a watchlist. Raises AccountNotFound, WatchlistInvalid, WatchlistNameTaken."""
    name = _checked_name(name)
    lock_account(account_id)
    if Watchlist.objects.filter(account_id=account_id).count() >= WATCHLISTS_MAX:
        raise WatchlistInvalid(
            f"an account keeps at most {WATCHLISTS_MAX} watchlists", maximum=WATCHLISTS_MAX
        )

    watchlist = Watchlist(account_id=account_id, name=name)
    _save(watchlist)
    _append(watchlist, instruments)
    _claim(watchlist)
    return get_watchlist(account_id, watchlist.public_id)


@retried
@transaction.atomic(durable=True)
def replace_watchlist(
    *,
    watchlist: Watchlist,
    name: str | None = None,
    instruments: Sequence[Instrument] | None = None,
) -> Watchlist:
    """Rename it, replace its entries, or both; None leaves a part as it is.

    Raises WatchlistInvalid, WatchlistNameTaken, WatchlistNotFound.
    """
    watchlist = _lock(watchlist)

    if name is not None:
        watchlist.name = _checked_name(name)

    _save(watchlist)
    if instruments is not None:
        watchlist.entries.all().delete()
        _append(watchlist, instruments)
    _claim(watchlist)
    return get_watchlist(watchlist.account_id, watchlist.public_id)


@retried
@transaction.atomic(durable=True)
def add_instrument(*, watchlist: Watchlist, instrument: Instrument) -> Watchlist:
    """Append the instrument; one that is there already stays in its place.

    Raises WatchlistInvalid when the list is full, WatchlistNotFound when it is gone.
    """
    watchlist = _lock(watchlist)

    if watchlist.entries.filter(instrument=instrument).exists():
        return get_watchlist(watchlist.account_id, watchlist.public_id)
    if watchlist.entries.count() >= ENTRIES_MAX:
        raise _too_long()

    _append(watchlist, [instrument])
    _touch(watchlist)
    _claim(watchlist)
    return get_watchlist(watchlist.account_id, watchlist.public_id)


@retried
@transaction.atomic(durable=True)
def remove_instrument(*, watchlist: Watchlist, instrument: Instrument) -> Watchlist:
    """Take the instrument off the list; the rest keeps its order.

    Raises WatchlistNotFound where it is not on the list.
    """
    watchlist = _lock(watchlist)

    deleted, _ = watchlist.entries.filter(instrument=instrument).delete()
    if not deleted:
        raise WatchlistNotFound(f"{instrument.symbol} is not on the watchlist")

    _touch(watchlist)
    _claim(watchlist)
    return get_watchlist(watchlist.account_id, watchlist.public_id)


@retried
@transaction.atomic(durable=True)
def delete_watchlist(*, watchlist: Watchlist) -> None:
    """Delete the list with its entries. Raises WatchlistNotFound."""
    _lock(watchlist).delete()
    _claim(watchlist)


def _lock(watchlist: Watchlist) -> Watchlist:
    """The list as it is now, locked; somebody else may have changed or deleted it."""
    try:
        return Watchlist.objects.select_for_update().get(pk=watchlist.pk)
    except Watchlist.DoesNotExist:
        raise WatchlistNotFound from None


def _claim(watchlist: Watchlist) -> None:
    idempotency.claim(subject=f"watchlist:{watchlist.public_id}", account_id=watchlist.account_id)


def _checked_name(name: str) -> str:
    name = name.strip()
    if not name or len(name) > NAME_LENGTH_MAX or not name.isprintable():
        raise WatchlistInvalid(
            f"a watchlist's name has 1 to {NAME_LENGTH_MAX} characters", maximum=NAME_LENGTH_MAX
        )
    return name


def _too_long() -> WatchlistInvalid:
    return WatchlistInvalid(f"a watchlist holds at most {ENTRIES_MAX} symbols", maximum=ENTRIES_MAX)


def _save(watchlist: Watchlist) -> None:
    try:
        with transaction.atomic():
            watchlist.save()
    except IntegrityError:
        raise WatchlistNameTaken from None


def _append(watchlist: Watchlist, instruments: Sequence[Instrument]) -> None:
    """Add entries in this order; repeated ones count once."""
    unique = list({instrument.pk: instrument for instrument in instruments}.values())
    if len(unique) > ENTRIES_MAX:
        raise _too_long()
    WatchlistEntry.objects.bulk_create(
        [WatchlistEntry(watchlist=watchlist, instrument=instrument) for instrument in unique],
        ignore_conflicts=True,
    )


def _touch(watchlist: Watchlist) -> None:
    Watchlist.objects.filter(pk=watchlist.pk).update(updated_at=timezone.now())
