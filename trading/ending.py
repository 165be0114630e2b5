"""How open orders end, other than by their fills: canceled, expired; and what that does to their
relatives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from events.bulk import update_rows
from events.models import Event
from portfolios import ledger, positions
from portfolios.models import BOOK_FIELDS, Account, Position
from quotes.models import Instrument
from trading import updates
from trading.legs import Change, family_of, following, hold_of, is_complex, make
from trading.locks import lock_relatives
from trading.models import Order, OrderStatus

# The columns that ending an order changes, its own or those of its relatives.
END_FIELDS = (
    "status",
    "reason",
    "updated_at",
    "canceled_at",
    "expired_at",
    "failed_at",
    "quantity",
    "hold_cash",
    "hold_quantity",
)


def end(
    account: Account,
    orders: Sequence[Order],
    status: OrderStatus,
    *,
    at: datetime | None,
    actor: str,
    reason: str = "",
) -> None:
    """Change, record and announce the end of locked orders of one locked account.

    At that market time, or each when its own time is up.
    """
    if not orders:
        return
    relatives = lock_relatives(orders)
    books = _Books.opened(account, [*orders, *relatives], actor)
    for order in orders:
        ended_at = at or order.expires_at
        assert ended_at is not None
        change = Change(order, status, order.quantity, reason)
        books.make(change, ended_at)
        family = [one for one in relatives if family_of(one) == family_of(order)]
        for one in following(order, family, books.position_of(order)):
            books.make(one, order.updated_at)
    books.write()


@dataclass(slots=True)
class _Books:
    """The locked rows, and what ending does to them, in memory until `write`."""

    account: Account
    held: Mapping[tuple[int, int], Position]
    instruments: Mapping[int, Instrument]
    actor: str
    changed: dict[int, Order] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)

    @classmethod
    def opened(cls, account: Account, orders: Sequence[Order], actor: str) -> _Books:
        keys = {
            (account.pk, order.instrument_id)
            for order in orders
            if order.hold_quantity or is_complex(order)
        }
        instruments = Instrument.objects.in_bulk({order.instrument_id for order in orders})
        return cls(account, positions.load_positions(keys), instruments, actor)

    def position_of(self, order: Order) -> Position | None:
        return self.held.get((self.account.pk, order.instrument_id))

    def make(self, change: Change, at: datetime) -> None:
        order = change.order
        name = make(change, at)
        hold = hold_of(order)
        position = self.position_of(order)
        ledger.hold(self.account, position, order, cash=hold.cash, quantity=hold.quantity)
        self.changed[order.pk] = order
        self.events.append(
            updates.draft(
                name,
                order,
                self.account,
                self.instruments[order.instrument_id],
                at=order.updated_at,
                actor=self.actor,
            )
        )

    def write(self) -> None:
        """Write everything that changed, and announce it after the commit."""
        update_rows(self.changed.values(), END_FIELDS)
        positions.save_positions(self.held.values())
        update_rows([self.account], BOOK_FIELDS)
        updates.record(self.events, *self.changed.values())
