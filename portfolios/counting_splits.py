"""By which splits prices count for one account: those in its books, and those that the market has
had and its books have not.

Read by hand: every picture of an account asks for them, nearly always there are none, and making
the statement through the ORM took thirty times as long as the rest.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import date, datetime
from typing import Any

from django.db import connections, router

from portfolios.models import Entitlement
from quotes.models import CorporateAction, Instrument
from quotes.splits import IN_FORCE, NAMED_MAX, Split
from quotes.ticks import to_micros

Status = CorporateAction.Status
UNDER_WAY = frozenset({Status.UNDER_WAY, Status.REVERSING})  # account by account
TO_COME = frozenset({Status.ANNOUNCED, Status.UNDER_WAY})

_SOUGHT = ", ".join(f"'{status.value}'" for status in sorted({*IN_FORCE, *UNDER_WAY, *TO_COME}))
_STATEMENT = (
    "SELECT a.instrument_id, i.symbol, a.due_at, a.ex_on, a.new_shares, a.old_shares, a.status,"
    f" EXISTS (SELECT 1 FROM {Entitlement._meta.db_table} e WHERE e.action_id = a.id"
    " AND e.account_id = %s AND e.reversal IS NULL)"
    f" FROM {CorporateAction._meta.db_table} a"
    f" JOIN {Instrument._meta.db_table} i ON i.id = a.instrument_id"
    f" WHERE a.kind = '{CorporateAction.Kind.SPLIT.value}' AND a.status IN ({_SOUGHT}){{named}}"
    " ORDER BY a.due_at, a.id"
)


def splits_for(account_id: int, instrument_ids: Collection[int]) -> list[Split]:
    """The splits in force for an account, in their order: those that are done, and of those that
    are booked or taken back just now, those that are in its books."""
    return [
        split
        for split, status, is_booked in _read(account_id, instrument_ids)
        if _is_in_force(status, is_booked)
    ]


def splits_between(account_id: int, instrument_ids: Collection[int]) -> list[Split]:
    """The splits between an account's books and the market's prices: those in force for it, and as
    ahead those to come, for the market has split at their time, whatever is booked."""
    found = []
    for split, status, is_booked in _read(account_id, instrument_ids):
        if _is_in_force(status, is_booked):
            found.append(split)
        elif status in TO_COME and not is_booked:
            found.append(split._replace(is_ahead=True))
    return found


def _is_in_force(status: str, is_booked: bool) -> bool:
    return status in IN_FORCE or (is_booked and status in UNDER_WAY)


def _read(account_id: int, instrument_ids: Collection[int]) -> Iterator[tuple[Split, str, bool]]:
    """Each split, how far it is, and whether it is in the account's books."""
    if not instrument_ids:
        return
    connection = connections[router.db_for_read(CorporateAction)]
    named = ""
    if len(instrument_ids) <= NAMED_MAX:
        named = f" AND a.instrument_id IN ({', '.join(map(str, map(int, instrument_ids)))})"
    with connection.cursor() as cursor:
        cursor.execute(_STATEMENT.format(named=named), [account_id])
        rows = cursor.fetchall()
    for pk, symbol, due_at, ex_on, new, old, status, is_booked in rows:
        if pk in instrument_ids:
            at: datetime = _value("due_at", due_at, connection)
            on: date = _value("ex_on", ex_on, connection)
            yield Split(pk, symbol, to_micros(at), on, new, old), status, bool(is_booked)


def _value(name: str, stored: Any, connection: Any) -> Any:
    """What a stored value of that field is."""
    field: Any = CorporateAction._meta.get_field(name)
    for convert in connection.ops.get_db_converters(field.cached_col):
        stored = convert(stored, field.cached_col, connection)
    return stored
