"""Reading orders and fills of one account. Whatever is another's is not found."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db.models import Q, QuerySet

from trading import states
from trading.errors import OrderNotFound
from trading.models import Fill, Order

ORDERS_MAX = 500
ORDERS_DEFAULT = 50
ACTIVITIES_MAX = 100

_RELATED = ("instrument", "replaces", "replaced_by")


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
    if wanted.status != "all":
        sought = states.OPEN if wanted.status == "open" else states.TERMINAL
        chosen &= Q(status__in=sorted(sought))
    if after is not None:
        chosen &= Q(submitted_at__gt=after)
    if until is not None:
        chosen &= Q(submitted_at__lt=until)
    if wanted.side is not None:
        chosen &= Q(side=wanted.side)
    if wanted.symbols:
        chosen &= Q(instrument__symbol__in=list(wanted.symbols))
    order_by = ("submitted_at", "pk") if wanted.ascending else ("-submitted_at", "-pk")
    found = Order.objects.filter(chosen).select_related(*_RELATED).order_by(*order_by)
    return list(found[: min(wanted.limit, ORDERS_MAX)])


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
        chosen &= Q(**{f"at__{beyond}": last.at}) | Q(at=last.at, **{f"pk__{beyond}": last.pk})
    order_by = ("at", "pk") if wanted.ascending else ("-at", "-pk")
    found = fills.filter(chosen).select_related("order", "instrument").order_by(*order_by)
    return list(found[: min(wanted.limit, ACTIVITIES_MAX)])
