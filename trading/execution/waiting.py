"""Telling owners why their orders wait: written to the order when it changes, and not too often."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from trading import states
from trading.execution.book import Book
from trading.execution.matching import Waiting, WorkingOrder
from trading.models import Order

WRITES_MAX = 500  # orders whose reason one pass may change

Judge = Callable[[WorkingOrder], Waiting | None]


def write_reasons(book: Book, why: Judge) -> int:
    """Store the reasons that changed since they were last stored; returns how many.

    A resting limit order needs no reason: it waits for its price. So only market orders and
    orders that would trade at the touch are looked at, and those that have a reason to lose.
    """
    changed: dict[str, list[int]] = {}
    count = 0
    for order in _worth_a_look(book, why):
        reason = why(order)
        if reason is None or reason == order.reason:
            continue
        order.reason = str(reason)
        book.watch(order)
        changed.setdefault(order.reason, []).append(order.pk)
        count += 1
        if count == WRITES_MAX:
            break
    for text, pks in changed.items():
        rows = Order.objects.filter(pk__in=pks, status__in=sorted(states.OPEN))
        rows.update(reason=text)
    return count


def _worth_a_look(book: Book, why: Judge) -> Iterator[WorkingOrder]:
    for symbol in book.symbols():
        of_symbol = book.of(symbol)
        assert of_symbol is not None
        for side in (of_symbol.buys, of_symbol.sells):
            yield from _front(side, why)
    yield from book.watched()


def _front(side: Iterable[WorkingOrder], why: Judge) -> Iterator[WorkingOrder]:
    """The best orders, as far as they would trade if nothing else stood in the way."""
    for order in side:
        if why(order) in (Waiting.LIMIT, None):
            return
        yield order
