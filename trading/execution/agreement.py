"""What keeps the floor and the database of one mind about who rests in the book.

The database is the truth. Where a decision was dropped, or settlement has set a leg to work that
the floor did not know of, the orders concerned are *doubted*: out of the book, until no decision
about them waits and their rows say all there is to say.
"""

from __future__ import annotations

from collections.abc import Iterable

from trading import states
from trading.execution import intake
from trading.execution.admission import Admissions
from trading.execution.certificate import working_order
from trading.execution.decisions import Decision
from trading.execution.families import Families
from trading.execution.floor import Floor
from trading.execution.matching import WorkingOrder
from trading.execution.pending import Pending
from trading.legs import family_of
from trading.models import Order


class Agreement:
    """Takes orders out of the book, and puts those into it that the database knows to rest."""

    def __init__(
        self, floor: Floor, listing: intake.Listing, pending: Pending, admissions: Admissions
    ) -> None:
        self._floor = floor
        self._listing = listing
        self._pending = pending
        self._admissions = admissions
        self._families = Families(floor.book, listing)
        self._doubted: set[int] = set()

    def load(self) -> None:
        """Make the book what the database says, decisions that wait apart."""
        book, undecided = self._floor.book, self._pending.orders()
        resting = intake.resting_ids(self._listing.by_id)
        for order in book.orders():
            if order.pk not in resting and order.pk not in undecided:
                book.remove(order.pk)
        self._rest(intake.orders({pk for pk in resting if pk not in book}))
        self._families.link(book.orders())

    def forget(self, pk: int) -> None:
        """The order is over."""
        self._floor.book.remove(pk)
        self._admissions.forget(pk)

    def doubt(self, decision: Decision) -> None:
        """It was dropped: its order and its relatives are not what the book thought."""
        order = decision.order
        for one in (order, *order.rivals, *order.followers):
            self._doubt(one.pk)

    def meet(self, row: Order) -> None:
        """Settlement has woken an exit: if it is not at work already, it is from now on."""
        if row.pk in self._doubted or row.pk in self._pending.orders():
            return
        order, known = self._working(row), self._floor.book.get(row.pk)
        if known is not None and known.leaves != order.leaves:
            self._doubt(row.pk)
        elif known is None and row.status in states.FILLABLE:
            self._families.link([order])
            self._floor.wake(order)

    def introduce(self, pk: int) -> None:
        """A leg with other prices is held now: its entry has to know of it."""
        for row in intake.orders({pk}):
            entry = self._floor.book.get(family_of(row))
            if entry is not None:
                self._families.link([entry])

    def settle_doubts(self) -> None:
        """Put back into the book those doubted orders that are known to rest."""
        if not self._doubted:
            return
        sure = self._doubted - self._pending.orders()
        self._doubted -= sure
        self._families.link(self._rest(intake.orders(sure)))

    def _doubt(self, pk: int) -> None:
        self.forget(pk)
        self._doubted.add(pk)

    def _rest(self, rows: Iterable[Order]) -> list[WorkingOrder]:
        """Put admitted orders into the book, unless a decision about them waits."""
        book, undecided = self._floor.book, self._pending.orders()
        rested: list[WorkingOrder] = []
        for row in rows:
            self._pending.lease.renew_if_due()
            if row.status in states.FILLABLE and row.pk not in undecided and row.pk not in book:
                rested.append(self._working(row))
                book.add(rested[-1])
        return rested

    def _working(self, row: Order) -> WorkingOrder:
        return working_order(row, self._listing.by_id[row.instrument_id].symbol)
