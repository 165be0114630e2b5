"""Reading orders and fills of one account. Whatever is another's is not found."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from django.db import router
from django.db.models import Q, QuerySet, Value
from django.db.models.functions import Coalesce

from quotes.amounts import CASH_PLACES, PRICE_PLACES, QUANTITY_PLACES, plain_units
from quotes.history import instrument_ids
from quotes.models import Instrument
from trading import fees, states
from trading.errors import OrderNotFound
from trading.legs import is_complex
from trading.models import Fill, Order, OrderStatus

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
    nested: bool = False  # legs within their parents, and not beside them


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
    parents = _parents_of(account_id, sought) if wanted.nested else set()
    if sought is not None:
        has_status = Q(status__in=sorted(sought))
        chosen &= has_status | Q(pk__in=parents) if parents else has_status
    if after is not None:
        chosen &= Q(submitted_at__gt=after)
    if until is not None:
        chosen &= Q(submitted_at__lt=until)
    if wanted.side is not None:
        chosen &= Q(side=wanted.side)
    if wanted.symbols:
        chosen &= Q(instrument_id__in=instrument_ids(wanted.symbols).values())
    order_by = ("submitted_at", "pk") if wanted.ascending else ("-submitted_at", "-pk")
    rows = Order.objects.filter(chosen)
    if wanted.nested:
        # Not "parent is null": MariaDB may take the index of parents, and read half an account.
        rows = rows.alias(above=Coalesce("parent_id", 0)).filter(above=0)
    page = rows.order_by(*order_by)[: min(wanted.limit, ORDERS_MAX)]
    keys = _keys(page)
    found = Order.objects.select_related(*_RELATED).in_bulk(keys) if keys else {}
    orders = [found[key] for key in keys]
    if wanted.nested:
        nest_legs(orders)
    # One may have changed since its key was read.
    return [
        order for order in orders if sought is None or order.status in sought or order.pk in parents
    ]


def _parents_of(account_id: int, sought: Collection[str] | None) -> set[int]:
    """The orders of which a leg is open, where open ones are sought: they are listed for it.

    Bounded by the account's open orders.
    """
    if sought is not states.OPEN:
        return set()
    legs = Order.objects.filter(account_id=account_id, status__in=sorted(states.OPEN))
    return set(legs.exclude(parent_id=None).values_list("parent_id", flat=True))


def nest_legs(orders: Collection[Order]) -> None:
    """Read the legs of these orders into them, those apart that were replaced."""
    parents = {order.pk: order for order in orders if is_complex(order)}
    for parent in parents.values():
        parent.nested_legs = []
    if not parents:
        return
    legs = Order.objects.filter(parent_id__in=parents).exclude(status=OrderStatus.REPLACED)
    for leg in legs.select_related(*_RELATED).order_by("pk"):
        assert leg.parent_id is not None
        nested = parents[leg.parent_id].nested_legs
        assert nested is not None
        nested.append(leg)


def _statuses(named: str) -> Collection[str] | None:
    """The statuses that a filter's word stands for; None for all."""
    if named == "all":
        return None
    return states.OPEN if named == "open" else states.TERMINAL


def get_order(account_id: int, order_id: UUID, *, nested: bool = False) -> Order:
    """The account's order of that public id, with its legs if wanted. Raises OrderNotFound."""
    rows = Order.objects.filter(account_id=account_id, public_id=order_id)
    return _one(rows, order_id, nested)


def get_order_by_client_id(account_id: int, client_order_id: str, *, nested: bool = False) -> Order:
    """The account's order of that client id, compared byte for byte. Raises OrderNotFound."""
    rows = Order.objects.filter(account_id=account_id, client_order_id=client_order_id)
    return _one(rows, client_order_id, nested)


def _one(rows: QuerySet[Order], sought: object, nested: bool) -> Order:
    order = rows.select_related(*_RELATED).first()
    if order is None:
        raise OrderNotFound(sought)
    if nested:
        nest_legs([order])
    return order


@dataclass(frozen=True, slots=True, kw_only=True)
class FillFilter:
    """Which fills to list; `after` and `until` are exclusive."""

    limit: int = ACTIVITIES_MAX
    after: datetime | None = None
    until: datetime | None = None
    ascending: bool = False
    following: tuple[datetime, int] | None = None  # instant and key of the last one before
    charged: bool = False  # only those that cost a fee


class ShownFill(NamedTuple):
    """What an activity shows: a fourth of the columns that a fill and its order have. Ids and
    amounts as they are shown."""

    id: int
    execution_id: str
    number: int
    side: str
    quantity: str
    price: str
    fee: str
    cumulative_quantity: str
    leaves_quantity: str | None
    at: datetime
    order_id: str  # the public one
    order_status: str
    order_fill_count: int
    symbol: str
    kind: int  # by which filter it was found


# In the order of ShownFill, and its statement by hand: through the ORM, making the statements
# and the rows takes five times as long as the database does.
_SHOWN_OF_FILL = (
    "id",
    "execution_id",
    "number",
    "side",
    "quantity",
    "price",
    "fee",
    "cumulative_quantity",
    "leaves_quantity",
    "at",
)
_SHOWN_OF_ORDER = ("public_id", "status", "fill_count")
_SHOW = (
    f"SELECT {', '.join(f'f.{name}' for name in _SHOWN_OF_FILL)},"
    f" {', '.join(f'o.{name}' for name in _SHOWN_OF_ORDER)}, i.symbol, page.kind"
    f" FROM ({{page}}) page"
    f" JOIN {Fill._meta.db_table} f ON f.id = page.id"
    f" JOIN {Order._meta.db_table} o ON o.id = f.order_id"
    f" JOIN {Instrument._meta.db_table} i ON i.id = f.instrument_id"
    " ORDER BY f.at {way}, page.kind {way}, f.id {way}"
)
_EITHER = " UNION ALL ".join(["SELECT * FROM ({}) one", "SELECT * FROM ({}) other"])


def list_fills(account_id: int, wanted: Mapping[int, FillFilter]) -> list[ShownFill]:
    """A page of the account's fills by market time, newest first unless ascending.

    Each filter lists its own, under its number, and so a fill may be on the page twice; of those
    of one instant lower numbers come first. One or two filters, alike in direction and limit.
    """
    compiled, parameters = [], []
    for kind, some in wanted.items():
        compiler = _page_of(account_id, kind, some).query.get_compiler(router.db_for_read(Fill))
        statement, values = compiler.as_sql()
        compiled.append(statement)
        parameters += values
    way = "ASC" if some.ascending else "DESC"
    page = compiled[0]
    if len(compiled) > 1:
        # The pages of both merged, and cut, before anything but an index is looked at.
        limit = min(some.limit, ACTIVITIES_MAX)
        page = f"{_EITHER.format(*compiled)} ORDER BY at {way}, kind {way}, id {way} LIMIT {limit}"
    with compiler.connection.cursor() as cursor:
        cursor.execute(_SHOW.format(page=page, way=way), parameters)
        rows = cursor.fetchall()
    (instant,) = compiler.get_converters([Fill._meta.get_field("at").cached_col]).values()
    return [_shown(row, instant, compiler.connection) for row in rows]


def _shown(row: Any, at: tuple[list[Callable[..., Any]], Any], connection: Any) -> ShownFill:
    """The fill of a row as it is stored. By hand, too: of a page's time half went into making
    amounts and ids of integers and text, and text of those."""
    id_, execution_id, number, side, quantity, price, fee, cumulative, leaves, instant, *rest = row
    for convert in at[0]:
        instant = convert(instant, at[1], connection)
    order_id, status, count, symbol, kind = rest
    return ShownFill(
        id_,
        _dashed(execution_id),
        number,
        side,
        plain_units(quantity, QUANTITY_PLACES),
        plain_units(price, PRICE_PLACES),
        plain_units(fee, CASH_PLACES),
        plain_units(cumulative, QUANTITY_PLACES),
        None if leaves is None else plain_units(leaves, QUANTITY_PLACES),
        instant,
        _dashed(order_id),
        status,
        count,
        symbol,
        kind,
    )


def _dashed(stored: str) -> str:
    """A UUID as it is written; MariaDB stores it so, others as 32 digits."""
    return stored if len(stored) == 36 else str(UUID(stored))


def _page_of(account_id: int, kind: int, wanted: FillFilter) -> QuerySet[Any]:
    """The keys of what the filter lists, found along one index without a look at the rows."""
    fills = Fill.objects.filter(account_id=account_id)
    if wanted.charged:  # the pack by name, for so the index has them by time
        fills = fills.filter(fee_pack=fees.US)
    order_by = ("at", "id") if wanted.ascending else ("-at", "-id")
    page = fills.filter(chosen_between(wanted)).order_by(*order_by)
    shown = page.annotate(kind=Value(int(kind))).values_list("id", "at", "kind")
    return shown[: min(wanted.limit, ACTIVITIES_MAX)]


def chosen_between(wanted: FillFilter) -> Q:
    """What the filter chooses of rows with an instant `at`."""
    chosen = Q()
    if wanted.after is not None:
        chosen &= Q(at__gt=wanted.after)
    if wanted.until is not None:
        chosen &= Q(at__lt=wanted.until)
    if wanted.following is not None:
        chosen &= _beyond(*wanted.following, wanted.ascending)
    return chosen


def _beyond(at: datetime, pk: int, ascending: bool) -> Q:
    """What comes after the last row of the page before."""
    way = "gt" if ascending else "lt"
    # Where the index is entered comes first and apart: MySQL sees no range in the rest alone.
    return Q(**{f"at__{way}e": at}) & (Q(**{f"at__{way}": at}) | Q(**{f"pk__{way}": pk}))


def _keys(page: QuerySet[Any]) -> list[int]:
    """The keys of a page's rows, which are fetched by them then.

    This reads one index and nothing else, because only then MariaDB enters an index in the middle.
    Asked for whole rows and what they refer to, it walks the account's past.
    """
    return list(page.values_list("pk", flat=True))
