"""What happened to an account, told in one row: its fills, and what moved cash without an order.

Both are kept by market time. A page takes as many as it shows from each, so it costs the same
however long the past. Where a fill and another activity have one instant, the fill comes last.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime
from enum import IntEnum
from typing import NamedTuple
from uuid import UUID

from portfolios.models import NonTradeActivity
from trading.models import Fill
from trading.queries import ACTIVITIES_MAX, FillFilter, ShownFill, chosen_between, list_fills

FILL = "FILL"
OTHERS = frozenset(NonTradeActivity.Type.values)
TYPES = OTHERS | {FILL}


class Rank(IntEnum):
    """Which of two kinds comes first at the same instant."""

    OTHER = 0  # the deposit before what it paid
    FILL = 1


class Place(NamedTuple):
    """Where an activity stands in the row."""

    at: datetime
    rank: Rank
    pk: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivityFilter:
    """Which activities to list; `after` and `until` are exclusive."""

    types: Collection[str] = TYPES
    limit: int = ACTIVITIES_MAX
    after: datetime | None = None
    until: datetime | None = None
    ascending: bool = False
    following: UUID | None = None  # the id of the last one of the page before


Activity = ShownFill | NonTradeActivity


def list_activities(account_id: int, wanted: ActivityFilter) -> list[Activity]:
    """The account's activities of these types by market time, newest first unless ascending.

    Raises LookupError where `following` names none of the account.
    """
    last = None if wanted.following is None else _place(account_id, wanted.following)
    limit = min(wanted.limit, ACTIVITIES_MAX)
    others = OTHERS.intersection(wanted.types)
    found: list[tuple[Place, Activity]] = []
    if FILL in wanted.types:
        fills = list_fills(account_id, _between(wanted, last, Rank.FILL))
        found += [(Place(fill.at, Rank.FILL, fill.id), fill) for fill in fills]
    if others:
        chosen = chosen_between(_between(wanted, last, Rank.OTHER))
        order_by = ("at", "pk") if wanted.ascending else ("-at", "-pk")
        rows = NonTradeActivity.objects.filter(account_id=account_id, type__in=sorted(others))
        rows = rows.select_related("instrument")
        for one in rows.filter(chosen).order_by(*order_by)[:limit]:
            found.append((Place(one.at, Rank.OTHER, one.pk), one))
    found.sort(key=lambda each: each[0], reverse=not wanted.ascending)
    return [activity for _, activity in found[:limit]]


def _between(wanted: ActivityFilter, last: Place | None, rank: Rank) -> FillFilter:
    """The part of the filter that chooses rows of one kind."""
    between = FillFilter(
        limit=wanted.limit, after=wanted.after, until=wanted.until, ascending=wanted.ascending
    )
    if last is None:
        return between
    if rank == last.rank:
        return replace(between, following=(last.at, last.pk))
    # Of the other kind at the same instant either all are still to come, or none.
    to_come = (rank > last.rank) == wanted.ascending
    none, everything = (2**63 - 1, 0) if wanted.ascending else (0, 2**63 - 1)
    return replace(between, following=(last.at, everything if to_come else none))


def _place(account_id: int, public_id: UUID) -> Place:
    fill = Fill.objects.filter(account_id=account_id, execution_id=public_id)
    if found := fill.values_list("at", "pk").first():
        return Place(found[0], Rank.FILL, found[1])
    other = NonTradeActivity.objects.filter(account_id=account_id, public_id=public_id)
    if found := other.values_list("at", "pk").first():
        return Place(found[0], Rank.OTHER, found[1])
    raise LookupError(public_id)
