"""What happened to an account, told in one row: its fills, their fees, and what moved cash without
an order.

All are kept by market time. A page takes as many as it shows from each, so it costs the same
however long the past. Of what has one instant the fills come after the others, then their fees.

A fee is no row of its own: it is what its fill was charged, told once more where an account's cash
is told, as Alpaca does. What the fills brought and cost and the other activities' net amounts add
up to the account's cash.
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

FILL, FEE = "FILL", "FEE"
STORED = frozenset(NonTradeActivity.Type.values)
OTHERS = STORED | {FEE}
TYPES = OTHERS | {FILL}

VERSION = 14  # where a UUID as text says its version


class Rank(IntEnum):
    """Which of two kinds comes first at the same instant."""

    OTHER = 0  # the deposit before what it paid
    FILL = 1
    FEE = 2


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


@dataclass(frozen=True, slots=True)
class Charge:
    """The fee of a fill, as an activity."""

    fill: ShownFill

    @property
    def public_id(self) -> str:
        return fee_id(self.fill.execution_id)


Activity = ShownFill | Charge | NonTradeActivity


def list_activities(account_id: int, wanted: ActivityFilter) -> list[Activity]:
    """The account's activities of these types by market time, newest first unless ascending.

    Raises LookupError where `following` names none of the account.
    """
    last = None if wanted.following is None else _place(account_id, wanted.following)
    limit = min(wanted.limit, ACTIVITIES_MAX)
    filters: dict[int, FillFilter] = {}
    if FILL in wanted.types:
        filters[Rank.FILL] = _between(wanted, last, Rank.FILL)
    if FEE in wanted.types:
        filters[Rank.FEE] = replace(_between(wanted, last, Rank.FEE), charged=True)
    found: list[tuple[Place, Activity]] = []
    for fill in list_fills(account_id, filters) if filters else ():
        place = Place(fill.at, Rank(fill.kind), fill.id)
        found.append((place, fill if place.rank == Rank.FILL else Charge(fill)))
    if stored := STORED.intersection(wanted.types):
        chosen = chosen_between(_between(wanted, last, Rank.OTHER))
        order_by = ("at", "pk") if wanted.ascending else ("-at", "-pk")
        rows = NonTradeActivity.objects.filter(account_id=account_id, type__in=sorted(stored))
        rows = rows.select_related("instrument")
        for one in rows.filter(chosen).order_by(*order_by)[:limit]:
            found.append((Place(one.at, Rank.OTHER, one.pk), one))
    found.sort(key=lambda each: each[0], reverse=not wanted.ascending)
    return [activity for _, activity in found[:limit]]


def fee_id(execution_id: str) -> str:
    """The id of an execution's fee: the same but for its version, which is 8 (RFC 9562: of one's
    own making) and not 5. Of the fee's id it makes the execution's."""
    version = int(execution_id[VERSION], 16) ^ 5 ^ 8
    return f"{execution_id[:VERSION]}{version:x}{execution_id[VERSION + 1 :]}"


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
    ranks = {public_id: Rank.FILL, UUID(fee_id(str(public_id))): Rank.FEE}
    fills = Fill.objects.filter(account_id=account_id, execution_id__in=ranks)
    for execution_id, at, pk in fills.values_list("execution_id", "at", "pk")[:1]:
        return Place(at, ranks[execution_id], pk)
    others = NonTradeActivity.objects.filter(account_id=account_id, public_id=public_id)
    for at, pk in others.values_list("at", "pk")[:1]:
        return Place(at, Rank.OTHER, pk)
    raise LookupError(public_id)
