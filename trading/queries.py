"""Reading orders and fills of one account. Whatever is another's is not found."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar
from uuid import UUID

from django.db.models import Q, QuerySet

from quotes.history import instrument_ids
from trading import states
from trading.errors import OrderNotFound
from trading.models import Fill, Order

ORDERS_MAX = 500
ORDERS_DEFAULT = 50
ACTIVITIES_MAX = 100

Row = TypeVar("Row", Order, Fill)

_RELATED = ("instrument", "replaces", "replaced_by")

# Of the sixty columns of a fill and its order, those that an activity shows.
_SHOWN_OF_FILL = (
    "account_id",
    "execution_id",
    "number",
    "side",
    "quantity",
    "price",
    "cumulative_quantity",
    "leaves_quantity",
    "at",
    "order__public_id",
    "order__status",
    "order__fill_count",
    "instrument__symbol",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderFilter:
    """Which orders to list; `after` and `until` are exclusive bounds of the submission."""

    status: str = "open"  # open, closed or all
    limit: int = ORDERS_DEFAULT
    after: datetime | None = None
    until: datetime | None = None
    ascending: bool = False
    side: str | None = None
    symbols: Collection[str] = ()
    after_order_id: UUID | None = None
    before_order_id: UUID | None = None


def list_orders(account_id: int, wanted: OrderFilter) -> list[Order]:
    """The account's orders by submission, newest first unless ascending.

    Raises OrderNotFound where a bound names no order of the account.
    """
    after, until = wanted.after, wanted.until
    if wanted.after_order_id is not None:
        after = get_order(account_id, wanted.after_order_id).submitted_at
    if wanted.before_order_id is not None:
        until = get_order(account_id, wanted.before_order_id).submitted_at
    chosen = Q(account_id=account_id)
    sought = _statuses(wanted.status)
    if sought is not None:
        chosen &= Q(status__in=sorted(sought))
    if after is not None:
        chosen &= Q(submitted_at__gt=after)
    if until is not None:
        chosen &= Q(submitted_at__lt=until)
    if wanted.side is not None:
        chosen &= Q(side=wanted.side)
    if wanted.symbols:
        chosen &= Q(instrument_id__in=instrument_ids(wanted.symbols).values())
    order_by = ("submitted_at", "pk") if wanted.ascending else ("-submitted_at", "-pk")
    page = Order.objects.filter(chosen).order_by(*order_by)[: min(wanted.limit, ORDERS_MAX)]
    found = _loaded(page, Order.objects.select_related(*_RELATED))
    # One may have changed since its key was read.
    return [order for order in found if sought is None or order.status in sought]


def _statuses(named: str) -> Collection[str] | None:
    """The statuses that a filter's word stands for; None for all."""
    if named == "all":
        return None
    return states.OPEN if named == "open" else states.TERMINAL


def get_order(account_id: int, order_id: UUID) -> Order:
    """The account's order of that public id. Raises OrderNotFound."""
    return _one(Order.objects.filter(account_id=account_id, public_id=order_id), order_id)


def get_order_by_client_id(account_id: int, client_order_id: str) -> Order:
    """The account's order of that client id, compared byte for byte. Raises OrderNotFound."""
    rows = Order.objects.filter(account_id=account_id, client_order_id=client_order_id)
    return _one(rows, client_order_id)


def _one(rows: QuerySet[Order], sought: object) -> Order:
    order = rows.select_related(*_RELATED).first()
    if order is None:
        raise OrderNotFound(sought)
    return order


@dataclass(frozen=True, slots=True, kw_only=True)
class FillFilter:
    """Which fills to list; `after` and `until` are exclusive."""

    limit: int = ACTIVITIES_MAX
    after: datetime | None = None
    until: datetime | None = None
    ascending: bool = False
    following: UUID | None = None  # the execution id of the last fill of the page before


def list_fills(account_id: int, wanted: FillFilter) -> list[Fill]:
    """The account's fills by market time, newest first unless ascending.

    Raises LookupError where `following` names no fill of the account.
    """
    fills = Fill.objects.filter(account_id=account_id)
    chosen = Q()
    if wanted.after is not None:
        chosen &= Q(at__gt=wanted.after)
    if wanted.until is not None:
        chosen &= Q(at__lt=wanted.until)
    if wanted.following is not None:
        last = fills.filter(execution_id=wanted.following).first()
        if last is None:
            raise LookupError(wanted.following)
        beyond = "gt" if wanted.ascending else "lt"
        # Where the index is entered comes first and apart: MySQL sees no range in the rest alone.
        chosen &= Q(**{f"at__{beyond}e": last.at})
        chosen &= Q(**{f"at__{beyond}": last.at}) | Q(**{f"pk__{beyond}": last.pk})
    order_by = ("at", "pk") if wanted.ascending else ("-at", "-pk")
    page = fills.filter(chosen).order_by(*order_by)[: min(wanted.limit, ACTIVITIES_MAX)]
    return _loaded(page, Fill.objects.select_related("order", "instrument").only(*_SHOWN_OF_FILL))


def _loaded(page: QuerySet[Row], rows: QuerySet[Row]) -> list[Row]:
    """The rows of a page, in its order; two statements.

    The first reads keys from one index and nothing else, because only then MariaDB enters an index
    in the middle. Asked for whole rows and what they refer to, it walks the account's past.
    """
    keys = list(page.values_list("pk", flat=True))
    by_key = rows.in_bulk(keys) if keys else {}
    return [by_key[key] for key in keys]
