"""Who belongs to whom among the orders on the floor: the pairs of exits, and those they wait for.

The floor lets an exit yield to its rival, and wakes what follows an entry, in the very instant of
the fill: what it decides does not wait for settlement. Settlement does the same on the rows, which
are the truth; where they disagree the floor is told by what is dropped, or by what was woken.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from trading.execution import intake
from trading.execution.book import Book
from trading.execution.certificate import working_order
from trading.execution.matching import WorkingOrder
from trading.legs import family_of
from trading.models import Order, OrderStatus


class Families:
    """Introduces orders of brackets, OCOs and OTOs to each other."""

    def __init__(self, book: Book, listing: intake.Listing) -> None:
        self._book = book
        self._listing = listing

    def link(self, orders: Iterable[WorkingOrder]) -> None:
        """Tell these orders, and their relatives on the floor, of each other.

        Costs a query for all of them together, and nothing where all are simple.
        """
        mine = {order.pk: order for order in orders if order.family}
        members: dict[int, list[tuple[Order, WorkingOrder]]] = {}
        for row in intake.relatives({order.family for order in mine.values()}):
            known = mine.get(row.pk) or self._book.get(row.pk)
            order = known or working_order(row, self._listing.by_id[row.instrument_id].symbol)
            members.setdefault(family_of(row), []).append((row, order))
        for family in members.values():
            _introduce(family)


def _introduce(family: Sequence[tuple[Order, WorkingOrder]]) -> None:
    exits = [order for row, order in family if row.leg]
    held = tuple(order for row, order in family if row.status == OrderStatus.HELD)
    for row, order in family:
        if row.parent_id is None:
            order.followers = held
    least = min((order.leaves or 0 for order in exits), default=0)
    for order in exits:
        order.leaves = least  # one may have had a fill that its rival's row does not know of yet
        order.rivals = tuple(other for other in exits if other is not order)
