"""Admission: accepted orders take their place on the floor, in the order of their row ids."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from quotes.amounts import PRICE_PLACES, from_units
from quotes.calendar import Calendar
from quotes.ticks import Trade, to_micros
from trading import holds
from trading.execution import intake
from trading.execution.auctions import Auctions
from trading.execution.certificate import working_order
from trading.execution.decisions import Admission, Decision, Ending
from trading.execution.families import Families
from trading.execution.floor import Floor
from trading.execution.hours import Hours
from trading.execution.matching import Waiting, WorkingOrder, touch
from trading.models import IMMEDIATE, Order, OrderStatus

IMMEDIATE_WALL_SECONDS = 5.0  # an ioc or fok that could not be admitted for so long is canceled

NOT_ADMITTED = "the engine could not take it in within 5 s"


class Admissions:
    """Who stands at the door: accepted orders that are not on the floor yet."""

    def __init__(
        self,
        floor: Floor,
        listing: intake.Listing,
        calendar: Calendar,
        decide: Callable[[Decision], None],
        *,
        by_wall: bool,
    ) -> None:
        self._floor = floor
        self._families = Families(floor.book, listing)
        self._listing = listing
        self._calendar = calendar
        self._decide = decide
        self._auctions = Auctions(decide, floor.model)
        self._by_wall = by_wall  # whether wall time may end an order: not where runs must repeat
        self._queued: set[int] = set()  # waiting for a session that they may trade in
        self._unpriced: dict[str, dict[int, Order]] = {}  # waiting for a quote to be held by

    def admit_accepted(
        self, undecided: set[int], between: Callable[[], None] = lambda: None
    ) -> None:
        """Take in all accepted orders but those about which a decision waits already.

        `between` is called after each slice of them, for there may be many.
        """
        self._give_up_waiting()
        known = self._known() | undecided
        while rows := intake.accepted(self._listing.by_id, known):
            known |= {row.pk for row in rows}
            self._admit_all(rows)
            between()
            if len(rows) < intake.ADMITTED_MAX:
                break

    def admit_announced(
        self, pks: set[int], undecided: set[int], between: Callable[[], None] = lambda: None
    ) -> None:
        """Take in the accepted orders among these, of which news has come; the rest as above."""
        for rows in intake.announced(pks - self._known() - undecided, self._listing.by_id):
            self._admit_all(rows)
            between()

    def admit_priced(self, symbol: str) -> None:
        """A quote of the symbol came: take in those that waited for one."""
        if symbol in self._unpriced:
            self._admit_all(self._unpriced.pop(symbol).values())

    def cross(self, trade: Trade) -> None:
        """An auction has printed: the orders that wait for it trade or end."""
        if not self._listing.is_halted(trade.symbol):
            self._auctions.cross(trade, self._floor.now_us)

    def reopen(self) -> None:
        """Another session has begun: everyone at the door may ask again."""
        self._queued.clear()
        self._unpriced.clear()

    def forget(self, pk: int) -> None:
        """The order is over."""
        self._queued.discard(pk)
        self._auctions.forget(pk)
        for rows in self._unpriced.values():
            rows.pop(pk, None)

    def _known(self) -> set[int]:
        """The row ids of those who stand at the door."""
        known = self._queued | self._auctions.pks()
        for unpriced in self._unpriced.values():
            known |= unpriced.keys()
        return known

    def _admit_all(self, rows: Iterable[Order]) -> None:
        asking = [(row, self._working(row)) for row in rows]
        self._families.link(order for _, order in asking)
        for row, order in asking:
            self._admit(row, order)

    def _working(self, row: Order) -> WorkingOrder:
        return working_order(row, self._listing.by_id[row.instrument_id].symbol)

    def _admit(self, row: Order, order: WorkingOrder) -> None:
        if order.leaves == 0:
            return  # the other exit of its pair has had it all
        at_us = max(self._floor.now_us, order.submitted_us)
        if order.is_immediate and (too_late := self._too_late(row, order)):
            self._decide(Ending(order, at_us, OrderStatus.CANCELED, too_late))
            return
        if order.auction:
            self._auctions.wait(order)
            self._floor.book.expect_expiry(order)
            return
        if not self._floor.hours.may_trade(order):
            self._queued.add(order.pk)
            self._expect_expiry(order)
            return
        collar_price = self._new_collar(row, order)
        if isinstance(collar_price, Waiting) or self._waits_for_a_quote(order):
            self._unpriced.setdefault(order.symbol, {})[row.pk] = row
            self._expect_expiry(order)
            return
        hold_price = None if collar_price is None else self._new_hold_price(order)
        self._floor.take_in(Admission(order, at_us, collar_price, hold_price))

    def _expect_expiry(self, order: WorkingOrder) -> None:
        """When a session ends all that is due is looked for; before that, only what is expected.
        An order may come in when its time is up already."""
        if order.expires_us < self._floor.hours.ends_us:
            self._floor.book.expect_expiry(order)

    def _give_up_waiting(self) -> None:
        """Look again at the immediate orders that wait for a quote: their time may be up."""
        waiting = [
            row
            for rows in self._unpriced.values()
            for row in rows.values()
            if row.time_in_force in IMMEDIATE
        ]
        for row in waiting:
            self.forget(row.pk)
            self._admit(row, self._working(row))

    def _waits_for_a_quote(self, order: WorkingOrder) -> bool:
        """An engine that has just taken over lets immediate orders meet the first quote it hears.

        Where wall time may not decide, there is no telling how long that takes.
        """
        if not order.is_immediate or not self._by_wall:
            return False
        return self._floor.usable_quote(order.symbol) is Waiting.NO_QUOTE

    def _too_late(self, row: Order, order: WorkingOrder) -> str:
        """Why an immediate order is not even tried; "" where it is."""
        if not self._floor.hours.may_trade(order):
            return Waiting.CLOSED
        waited = datetime.now(UTC) - row.recorded_at
        if self._by_wall and waited > timedelta(seconds=IMMEDIATE_WALL_SECONDS):
            return NOT_ADMITTED
        return ""

    def _new_hold_price(self, order: WorkingOrder) -> Decimal | None:
        """What a share sold short counts for from now on; the quote that stands is usable."""
        quote = self._floor.usable_quote(order.symbol)
        if not order.is_short or isinstance(quote, Waiting):
            return None
        return from_units(holds.short_price(quote.ask or quote.bid), PRICE_PLACES)

    def _new_collar(self, row: Order, order: WorkingOrder) -> Decimal | Waiting | None:
        """The collar of an order that was queued while closed, from the quote that stands now.

        None where it keeps the one it has (a stop until it is triggered), a reason where there is
        nothing to set it from.
        """
        needed = holds.needs_collar(
            is_market=order.is_market,
            is_buy=order.is_buy,
            by_amount=order.leaves is None,
            is_short=order.is_short,
        )
        then = Hours(self._calendar, to_micros(row.submitted_at))
        if not needed or order.stop or then.may_trade(order):
            return None
        quote = self._floor.usable_quote(order.symbol)
        if isinstance(quote, Waiting):
            return quote
        price = touch(quote, order.is_buy)[0]
        if quote.is_crossed or price == 0:
            return Waiting.NO_QUOTE
        order.bound = holds.collar(order.is_buy, price)
        return from_units(order.bound, PRICE_PLACES)
