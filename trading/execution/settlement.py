"""Settlement: a micro-batch of the engine's decisions becomes true in one transaction.

Lease, accounts in id order, orders in id order are locked; whatever the engine decided is checked
against the rows; then fills, postings, positions, lots, accounts, orders and events are written in
bulk. A decision that the rows no longer allow is dropped: a cancel that came first is final.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial

from django.db import connection, transaction

from events.bulk import insert_rows, one_trip, update_rows
from events.leases import Lease
from events.models import Event
from portfolios import ledger, lot_rows, positions
from portfolios.borrowing import NO_MARKS, Marks
from portfolios.lot_rows import Key
from portfolios.models import Account, Lot, Position
from portfolios.positions import Applied
from portfolios.positions import Execution as Booking
from quotes.amounts import (
    CASH_PLACES,
    PRICE_PLACES,
    QUANTITY_PLACES,
    from_units,
)
from quotes.calendar import Calendar
from quotes.models import Instrument
from quotes.ticks import to_instant
from trading import states, updates
from trading.execution.affording import cannot_afford, cannot_deliver
from trading.execution.certificate import certified_fill, leaves
from trading.execution.decisions import (
    Admission,
    Decision,
    Ending,
    Execution,
    Following,
    Trigger,
)
from trading.execution.lots import lot_choice, lots_chosen, trades
from trading.execution.rows import Rows, locked_rows
from trading.execution.tally import assert_closes, count_in, is_too_much
from trading.fees import fee
from trading.legs import family_of, following, hold_of, is_complex, make
from trading.locks import lock_relatives
from trading.models import Fill, Order, OrderStatus

ACTOR = "engine"
LOCK_WAIT_SECONDS = 1  # well below the time of a lease: it cannot be renewed while waiting

# Held by the lane that computes. Two that took turns of Python's 5 ms would both come late to the
# database, and both wait for it then; so one computes while the other's rows are written.
COMPUTING = threading.Lock()

# The columns of an order that a decision may change.
ORDER_FIELDS = (
    "status",
    "reason",
    "updated_at",
    "filled_at",
    "canceled_at",
    "expired_at",
    "failed_at",
    "quantity",  # of an exit, when the other of its pair was filled in part
    "filled_quantity",
    "filled_cash",
    "filled_avg_price",
    "fill_count",
    "hold_cash",
    "hold_quantity",
    "collar_price",
    "hold_price",
    "stop_price",
    "hwm",
    "triggered_at",
)


@dataclass(slots=True)
class Outcome:
    """What became of a batch: every decision is settled, busy or dropped."""

    settled: list[Decision] = field(default_factory=list)
    busy: list[Decision] = field(default_factory=list)  # of accounts that somebody else has locked
    dropped: list[Decision] = field(default_factory=list)  # the rows did not allow them
    woken: list[Order] = field(default_factory=list)  # legs that work from now on


def settle(
    decisions: Sequence[Decision],
    *,
    lease: Lease,
    instruments: Mapping[int, Instrument],
    calendar: Calendar,
    marks: Marks = NO_MARKS,
    wait: bool = False,
) -> Outcome:
    """Settle what can be settled now; with `wait`, wait for locked accounts instead of leaving
    them. `marks` are what margin accounts' positions are worth.

    Raises LeaseLost, and whatever the database raises: then nothing has changed.
    """
    if wait:
        _limit_lock_wait()
    with transaction.atomic(durable=True):
        rows = locked_rows(lease, decisions, wait=wait)
        ready = [one for one in decisions if one.account_id in rows.accounts]
        books = _Books.opened(rows, ready, instruments, calendar, marks)

        outcome = Outcome(busy=[one for one in decisions if one.account_id not in rows.accounts])
        with one_trip(), COMPUTING:
            for decision in ready:
                made = books.make(decision)
                (outcome.settled if made else outcome.dropped).append(decision)
            books.write()
    outcome.woken = books.woken
    return outcome


def _limit_lock_wait() -> None:
    """For the rest of this connection, which is the engine's alone."""
    if connection.vendor == "mysql":
        with connection.cursor() as cursor:
            cursor.execute("SET innodb_lock_wait_timeout = %s", [LOCK_WAIT_SECONDS])


@dataclass(slots=True)
class _Books:
    """The locked rows of a batch and what it adds to them, in memory until `write`."""

    accounts: Mapping[int, Account]
    orders: Mapping[int, Order]
    relatives: Collection[Order]  # all that belong to a bracket, OCO or OTO
    positions: dict[Key, Position]
    lots: dict[Key, list[Lot]]
    instruments: Mapping[int, Instrument]
    calendar: Calendar
    marks: Marks
    recorded_at: datetime = field(default_factory=partial(datetime.now, UTC))
    changed: dict[int, Order] = field(default_factory=dict)
    fills: list[Fill] = field(default_factory=list)
    applied: list[Applied] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    woken: list[Order] = field(default_factory=list)

    @classmethod
    def opened(
        cls,
        rows: Rows,
        decisions: Collection[Decision],
        instruments: Mapping[int, Instrument],
        calendar: Calendar,
        marks: Marks,
    ) -> _Books:
        """Lock the relatives, which have the same account and instrument; load of the positions'
        lots those that may be closed."""
        accounts, orders, held = rows
        legs = [one for one in orders.values() if is_complex(one)]
        relatives = lock_relatives(legs)
        orders |= {one.pk: one for one in relatives}
        closing = positions.shares_to_close(held, trades(decisions))
        lots = lot_rows.load(closing, *lots_chosen(orders.values())) if closing else {}
        return cls(accounts, orders, [*legs, *relatives], held, lots, instruments, calendar, marks)

    def make(self, decision: Decision) -> bool:
        """Do what was decided, in memory; False where the rows do not allow it."""
        order = self.orders.get(decision.order.pk)
        if order is None:
            return False
        match decision:
            case Admission():
                return self._admit(decision, order)
            case Execution():
                return self._fill(decision, order)
            case Ending():
                return self._end(decision, order)
            case Trigger():
                return self._trigger(decision, order)
            case Following():
                return self._follow(decision, order)
        raise AssertionError(f"no such decision: {decision}")

    def write(self) -> None:
        """Write everything that changed, in bulk, and announce it after the commit."""
        insert_rows(self.fills)
        positions.write(self.positions.values(), self.applied)
        update_rows(self.changed.values(), ORDER_FIELDS)
        if self.events:
            updates.record(self.events)
            ledger.save(self.accounts.values())

    # --- the decisions --------------------------------------------------------------------------

    def _admit(self, decision: Admission, order: Order) -> bool:
        if order.status != OrderStatus.ACCEPTED:
            # Settled before, by a commit whose answer was lost; unless it has ended otherwise.
            return order.status in states.FILLABLE or order.status == OrderStatus.FILLED
        at = to_instant(decision.at_us)
        if decision.collar_price is not None:
            order.collar_price = decision.collar_price
            order.hold_price = decision.hold_price or order.hold_price
            if short := self._cannot_hold(order, "when it was taken in"):
                self._finish(order, OrderStatus.REJECTED, at, short)
                return False  # written, and nothing that was decided after it holds
        states.transition(order, OrderStatus.NEW, at, decision.reason)
        self._hold(order)
        self._note("new", order, order.updated_at)
        self._lead(order)
        return True

    def _fill(self, decision: Execution, order: Order) -> bool:
        if decision.number <= order.fill_count:  # settled before, or another's number
            return Fill.objects.filter(execution_id=decision.execution_id).exists()
        if order.status not in states.FILLABLE or decision.number != order.fill_count + 1:
            return False
        if is_too_much(decision, order):
            return False
        account = self.accounts[order.account_id]
        key = (order.account_id, order.instrument_id)
        at = self._filled_at(decision, order, account)
        if key not in self.positions:
            self.positions[key] = positions.new_position(*key, at)
        position = self.positions[key]

        booked = self._booked(decision, order, at)
        assert_closes(order, position, booked)
        self.applied.append(
            positions.apply_execution(account, position, self.lots.setdefault(key, []), booked)
        )
        count_in(order, booked)
        # An exit may have been woken for less than the floor thinks: then this is all of it.
        completes = decision.completes or leaves(order) == 0
        status = OrderStatus.FILLED if completes else OrderStatus.PARTIALLY_FILLED
        states.transition(order, status, at)
        self._hold(order)
        fill = certified_fill(decision, order, position, booked)
        self.fills.append(fill)
        self._note("fill" if completes else "partial_fill", order, at, fill)
        self._lead(order)
        return True

    def _trigger(self, decision: Trigger, order: Order) -> bool:
        if order.triggered_at is not None:  # settled before, by a commit whose answer was lost
            return order.status in states.FILLABLE or order.status == OrderStatus.FILLED
        if order.status not in states.FILLABLE:
            return False
        at = max(to_instant(decision.at_us), order.updated_at)
        self._move_stop(decision, order)
        if decision.collar_price is not None:
            order.collar_price = decision.collar_price
            if short := self._cannot_hold(order, "when its stop was triggered"):
                self._finish(order, OrderStatus.CANCELED, at, short)
                return False  # written, and nothing that was decided after it holds
        order.triggered_at = order.updated_at = at
        order.reason = decision.reason
        self._hold(order)
        self.changed[order.pk] = order
        self.events.append(
            updates.draft_trigger(
                order,
                self.accounts[order.account_id],
                actor=ACTOR,
                price=from_units(decision.price, PRICE_PLACES),
                tick=decision.tick,
            )
        )
        return True

    def _follow(self, decision: Following, order: Order) -> bool:
        """Note where a trailing stop stands; it may have been triggered or have ended since."""
        if order.status in states.FILLABLE and order.triggered_at is None:
            self._move_stop(decision, order)
            self.changed[order.pk] = order
        return True

    def _move_stop(self, decision: Trigger | Following, order: Order) -> None:
        if decision.order.trail is not None:
            order.stop_price = from_units(decision.stop, PRICE_PLACES)
            order.hwm = from_units(decision.mark, PRICE_PLACES)

    def _end(self, decision: Ending, order: Order) -> bool:
        if decision.status not in states.TRANSITIONS[OrderStatus(order.status)]:
            return False
        self._finish(order, decision.status, to_instant(decision.at_us), decision.reason)
        return True

    # --- what they share ------------------------------------------------------------------------

    def _finish(self, order: Order, status: OrderStatus, at: datetime, reason: str) -> None:
        states.transition(order, status, at, reason)
        self._hold(order)
        self._note(status.value, order, order.updated_at)
        self._lead(order)

    def _lead(self, order: Order) -> None:
        """Change the order's relatives as its new state wants it."""
        if not is_complex(order):
            return
        family = [one for one in self.relatives if family_of(one) == family_of(order)]
        position = self.positions.get((order.account_id, order.instrument_id))
        for change in following(order, family, position):
            name = make(change, order.updated_at)
            self._hold(change.order)
            self._note(name, change.order, change.order.updated_at)
            if change.status == OrderStatus.NEW:
                self.woken.append(change.order)

    def _hold(self, order: Order) -> None:
        """Set the order's hold to what it needs now: nothing, once it is finished."""
        hold = hold_of(order)
        ledger.hold(
            self.accounts[order.account_id],
            self.positions.get((order.account_id, order.instrument_id)),
            order,
            cash=hold.cash,
            quantity=hold.quantity,
        )

    def _note(self, name: str, order: Order, at: datetime, fill: Fill | None = None) -> None:
        self.changed[order.pk] = order
        self.events.append(
            updates.draft(
                name,
                order,
                self.accounts[order.account_id],
                self.instruments[order.instrument_id],
                at=at,
                actor=ACTOR,
                fill=fill,
                recorded_at=self.recorded_at,
            )
        )

    def _cannot_hold(self, order: Order, when: str) -> str:
        """Why the account cannot hold the order at its new collar; "" where it can."""
        account = self.accounts[order.account_id]
        position = self.positions.get((order.account_id, order.instrument_id))
        if short := cannot_deliver(order, position, when):
            return short
        mine = (
            (position, self.instruments[instrument_id].marginable)
            for (account_id, instrument_id), position in self.positions.items()
            if account_id == account.pk
        )
        return cannot_afford(order, account, mine, self.marks, when)

    def _filled_at(self, decision: Execution, order: Order, account: Account) -> datetime:
        """Market time of a fill: of its quote, but never before the order, nor on a trade date
        that the account's books have left behind already."""
        at = max(to_instant(decision.at_us), order.updated_at)
        if account.day_on is not None and self.calendar.trading_date(at) < account.day_on:
            day = self.calendar.day(account.day_on)
            assert day is not None, "books are kept on trading days"
            at = day.overnight_at
        return at

    def _booked(self, decision: Execution, order: Order, at: datetime) -> Booking:
        found = decision.match
        trade_date = self.calendar.trading_date(at)
        charge = fee(
            is_buy=decision.order.is_buy, quantity=found.quantity, cash=found.cash, on=trade_date
        )
        return Booking(
            execution_id=decision.execution_id,
            instrument_id=order.instrument_id,
            side=order.side,
            quantity=from_units(found.quantity, QUANTITY_PLACES),
            price=from_units(found.price, PRICE_PLACES),
            cash=from_units(found.cash, CASH_PLACES),
            fee=from_units(charge, CASH_PLACES),
            at=at,
            trade_date=trade_date,
            choice=lot_choice(order, self.lots.get((order.account_id, order.instrument_id), ())),
            recorded_at=self.recorded_at,
        )
