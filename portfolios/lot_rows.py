"""Lots in their table: as few are read as a closing needs, and many are written at once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from django.db import connection

from events.bulk import insert_rows, update_rows
from portfolios.models import Lot, LotMethod
from quotes.amounts import PRICE_PLACES, to_units

ZERO = Decimal(0)

Key = tuple[int, int]  # (account id, instrument id)

# Lots of one position in the first slice, and in each one after it: most sales close a few lots.
FIRST_SLICE = 16
NEXT_SLICE = 500
KEYS_PER_STATEMENT = 100  # SQLite takes 500 parts in one
ROWS_PER_STATEMENT = 1_000  # SQLite takes 32,766 values
BIGGEST = 2**63 - 1  # beyond every id and every price


@dataclass(frozen=True, slots=True)
class _Walk:
    """How one method's lots follow each other in the table, and along which index."""

    index: str
    beyond: str  # what follows a lot of these %s
    order_by: str
    start: tuple[int, ...]  # before the first lot
    place: Callable[[Lot], tuple[int, ...]]  # of a lot, for `beyond`


_OLDEST = _Walk("lot_fifo", "id > %s", "id", (0,), lambda lot: (lot.pk,))
_NEWEST = _Walk("lot_fifo", "id < %s", "id DESC", (BIGGEST,), lambda lot: (lot.pk,))
_DEAREST = _Walk(
    "lot_hifo",
    "price <= %s AND (price < %s OR id < %s)",
    "price DESC, id DESC",
    (BIGGEST, BIGGEST, BIGGEST),
    lambda lot: (*(to_units(lot.price, PRICE_PLACES),) * 2, lot.pk),
)
_WALKS = {LotMethod.LIFO: _NEWEST, LotMethod.HIFO: _DEAREST}


def load(
    closing: Mapping[Key, Decimal],
    methods: Mapping[Key, Collection[str]] | None = None,
    named: Collection[int] = (),
) -> dict[Key, list[Lot]]:
    """Under each key the lots that closing that many shares may need, in the order of opening.

    `methods` are those by which the shares will be closed, the oldest first where it names none;
    `named` are the ids of lots that are chosen one by one. Each method finds its first lots that
    together hold that many shares, or all there are, so a batch may mix methods: what one takes
    from the lots of another, it takes from the number of shares, too.

    What is read grows with what is closed, not with what is open: lots come in slices along their
    index, those of all keys in one statement. The caller has locked the accounts.
    """
    found: dict[Key, dict[int, Lot]] = {key: {} for key in closing}
    for walk, wanted in _walks(closing, methods or {}).items():
        for key, lots in _first(walk, wanted).items():
            found[key].update((lot.pk, lot) for lot in lots)
    for lot in Lot.objects.filter(pk__in=named) if named else ():
        found.get((lot.account_id, lot.instrument_id), {})[lot.pk] = lot
    return {key: [lots[pk] for pk in sorted(lots)] for key, lots in found.items()}


def _walks(
    closing: Mapping[Key, Decimal], methods: Mapping[Key, Collection[str]]
) -> dict[_Walk, dict[Key, Decimal]]:
    """What each walk has to find."""
    walks: dict[_Walk, dict[Key, Decimal]] = {}
    for key, quantity in closing.items():
        for method in methods.get(key, (LotMethod.FIFO,)):
            walks.setdefault(_WALKS.get(LotMethod(method), _OLDEST), {})[key] = quantity
    return walks


def _first(walk: _Walk, wanted: Mapping[Key, Decimal]) -> dict[Key, list[Lot]]:
    """Under each key the first lots along the walk that together hold that many shares."""
    found: dict[Key, list[Lot]] = {key: [] for key in wanted}
    missing = dict(wanted)
    size = FIRST_SLICE
    while missing:
        for key, lots in _next_slices(walk, {key: found[key] for key in missing}, size).items():
            found[key] += lots
            missing[key] -= sum((abs(lot.quantity_left) for lot in lots), ZERO)
            if missing[key] <= 0 or len(lots) < size:
                del missing[key]
        size = NEXT_SLICE
    return found


def _next_slices(
    walk: _Walk, found: Mapping[Key, Sequence[Lot]], size: int
) -> dict[Key, list[Lot]]:
    """The `size` lots of each key that follow those already found."""
    slices: dict[Key, list[Lot]] = {key: [] for key in found}
    keys = list(found)
    for start in range(0, len(keys), KEYS_PER_STATEMENT):
        some = keys[start : start + KEYS_PER_STATEMENT]
        after = (walk.place(found[key][-1]) if found[key] else walk.start for key in some)
        values = [(*key, *last, size) for key, last in zip(some, after, strict=True)]
        statement = " UNION ALL ".join([_slice_of_one_key(walk)] * len(some))
        for lot in Lot.objects.raw(statement, [value for row in values for value in row]):
            slices[lot.account_id, lot.instrument_id].append(lot)
    return slices


def _slice_of_one_key(walk: _Walk) -> str:
    quote = connection.ops.quote_name
    columns = ", ".join(quote(str(field.column)) for field in Lot._meta.concrete_fields)
    # Left to itself, MariaDB walks a position's lots from the first, or everybody's by id.
    index = f"FORCE INDEX ({walk.index})" if connection.vendor == "mysql" else ""
    return (
        f"SELECT * FROM (SELECT {columns} FROM {quote(Lot._meta.db_table)} {index}"
        f" WHERE account_id = %s AND instrument_id = %s AND {walk.beyond}"
        f" ORDER BY {walk.order_by} LIMIT %s) AS of_key"
    )


def find(account_id: int, instrument_id: int, ids: Collection[int]) -> dict[int, Lot]:
    """Those of the lots that are of this position, by id."""
    rows = Lot.objects.filter(pk__in=ids, account_id=account_id, instrument_id=instrument_id)
    return rows.in_bulk()


def write(*, opened: Sequence[Lot], reduced: Sequence[Lot], closed: Sequence[Lot]) -> None:
    """Insert, update and delete lots, in bulk."""
    insert_rows(opened)
    update_rows(reduced, ["quantity_left", "cost_left", "fee_left"])
    for start in range(0, len(closed), ROWS_PER_STATEMENT):
        some = closed[start : start + ROWS_PER_STATEMENT]
        Lot.objects.filter(pk__in=[lot.pk for lot in some]).delete()
