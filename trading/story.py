"""Everything an order went through, for one page: its events, what it held, its fills with their
certificates, the postings behind them, and the orders it belongs with.

Reads a fixed number of times, whatever the order went through, and shows at most so much of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import Q

from events.models import Event
from portfolios.models import Posting
from quotes.amounts import CASH_PLACES, QUANTITY_PLACES, from_units, plain
from trading.models import Fill, Order
from trading.verification import verdicts
from trading.wire import BOOKS, EVENT_KIND, subject

SHOWN_MAX = 500  # events, and fills
RELATED_MAX = 50


@dataclass(frozen=True, slots=True)
class Chapter:
    """One event of the order."""

    event: Event
    name: str
    detail: str  # what it says in numbers
    filled: str
    hold_cash: str
    hold_quantity: str
    reason: str


@dataclass(frozen=True, slots=True)
class ShownFill:
    """One fill, the quote it used, and whether its certificate makes it."""

    fill: Fill
    wrong: str  # "" where it follows from its certificate
    transaction: int | None
    postings: list[ShownPosting]


@dataclass(frozen=True, slots=True)
class ShownPosting:
    source: str
    target: str
    amount: str
    asset: str


@dataclass(frozen=True, slots=True)
class Relative:
    """An order that this one belongs with, and how."""

    how: str
    order: Order


@dataclass(frozen=True, slots=True)
class Story:
    chapters: list[Chapter]
    fills: list[ShownFill]
    relatives: list[Relative]
    is_cut: bool  # there is more than is shown


def tell(order: Order) -> Story:
    """The story of an order whose account and instrument are loaded."""
    named = Event.objects.filter(subject=subject(order.public_id)).order_by("id")
    events = list(named[: SHOWN_MAX + 1])
    fills = list(order.fills.order_by("number")[: SHOWN_MAX + 1])
    for fill in fills:
        fill.order, fill.instrument = order, order.instrument
    return Story(
        chapters=[_chapter(event) for event in events[:SHOWN_MAX]],
        fills=_fills(order, fills[:SHOWN_MAX], events),
        relatives=_relatives(order),
        is_cut=len(events) > SHOWN_MAX or len(fills) > SHOWN_MAX,
    )


def _chapter(event: Event) -> Chapter:
    said: dict[str, Any] = event.payload
    books = said.get(BOOKS, {})
    order = said.get("order") or {}
    return Chapter(
        event=event,
        name=event.kind.removeprefix(EVENT_KIND).removeprefix("trading."),
        detail=_detail(said),
        filled=order.get("filled_qty", ""),
        hold_cash=books.get("hold_cash", ""),
        hold_quantity=books.get("hold_qty", ""),
        reason=order.get("reason") or said.get("refusal", {}).get("message", ""),
    )


def _detail(said: dict[str, Any]) -> str:
    if "execution_id" in said:
        return f"{said['qty']} at {said['price']}, position {said['position_qty']}"
    if "source" in said:  # a stop that was triggered
        return f"{said['source']} {said['price']} reached the stop at {said['stop_price']}"
    if "refusal" in said:  # of other terms
        asked = said["request"].items()
        return ", ".join(f"{name} {value}" for name, value in asked if name != "replaces")
    order = said.get("order") or {}
    prices = [
        f"{name} {order[field]}"
        for name, field in (("limit", "limit_price"), ("stop", "stop_price"))
        if order.get(field)
    ]
    size = f"{order.get('qty')} shares" if order.get("qty") else f"{order.get('notional')} USD"
    return ", ".join([size, *prices]) if order else ""


def _fills(order: Order, fills: Sequence[Fill], events: Sequence[Event]) -> list[ShownFill]:
    transactions = {
        event.payload["execution_id"]: event.payload.get(BOOKS, {}).get("transaction")
        for event in events
        if "execution_id" in event.payload
    }
    postings: dict[int, list[ShownPosting]] = {}
    posted = Posting.objects.filter(
        account_id=order.account_id,
        transaction__in=[number for number in transactions.values() if number is not None],
    )
    for posting in posted.order_by("transaction", "n"):
        postings.setdefault(posting.transaction, []).append(_posting(posting, order))
    shown = []
    for fill, wrong in zip(fills, verdicts(fills), strict=True):
        number = transactions.get(str(fill.execution_id))
        shown.append(ShownFill(fill, wrong, number, postings.get(number or 0, [])))
    return shown


def _posting(posting: Posting, order: Order) -> ShownPosting:
    is_cash = posting.instrument_id is None
    places = CASH_PLACES if is_cash else QUANTITY_PLACES
    return ShownPosting(
        posting.source,
        posting.target,
        plain(from_units(posting.amount, places)),
        "USD" if is_cash else order.instrument.symbol,
    )


def _relatives(order: Order) -> list[Relative]:
    how = {
        order.parent_id: "parent",
        order.replaces_id: "replaces",
        order.replaced_by_id: "replaced by",
    }
    near = Q(pk__in=[pk for pk in how if pk is not None]) | Q(parent_id=order.pk)
    if order.parent_id is not None:
        near |= Q(parent_id=order.parent_id)
    found = Order.objects.filter(near).exclude(pk=order.pk).order_by("pk")[:RELATED_MAX]
    return [
        Relative(how.get(other.pk) or ("leg" if other.parent_id == order.pk else "sibling"), other)
        for other in found
    ]
