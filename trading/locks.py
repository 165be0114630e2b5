"""Who waits for whom: the queue of requests per account, and the named lock queries.

Lock order everywhere: lease, accounts by id, orders by id.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from uuid import UUID

from django.db import transaction

from events.errors import Unavailable
from events.reads import Wanted, find_rows, find_together
from portfolios.errors import AccountNotFound
from portfolios.models import Account, Position
from quotes.models import Instrument
from quotes.queries import Listed
from quotes.splits import Split, splits_in, wanted_splits
from trading.errors import AccountBusy, OrderNotFound
from trading.judging import find_listed
from trading.legs import family_of, is_complex
from trading.models import Order

WAITING_MAX = 2  # requests of one account that wait in this process; the next one hears 429
WAIT_SECONDS_MAX = 2.0


@dataclass(slots=True)
class _Queue:
    turn: threading.Lock = field(default_factory=threading.Lock)
    users: int = 0  # the one whose turn it is, and those that wait


_queues: dict[int, _Queue] = {}
_guard = threading.Lock()


@contextmanager
def turn(account_id: int) -> Iterator[None]:
    """One request of an account at a time, in this process.

    Spares the database a crowd in front of one row: a client that fires faster than its account
    can be decided hears so at once, and takes no thread or connection from the others. Raises
    AccountBusy where two wait already, Unavailable when its turn does not come.
    """
    with _guard:
        queue = _queues.setdefault(account_id, _Queue())
        if queue.users > WAITING_MAX:
            raise AccountBusy(maximum=WAITING_MAX)
        queue.users += 1
    try:
        if not queue.turn.acquire(timeout=WAIT_SECONDS_MAX):
            raise Unavailable
        try:
            yield
        finally:
            queue.turn.release()
    finally:
        with _guard:
            queue.users -= 1
            if queue.users == 0:
                del _queues[account_id]


def lock_account_for(
    account_id: int, listed: Listed
) -> tuple[Account, Position | None, Instrument, list[Split]]:
    """The account, locked, and in the same trip what an order of it has to be judged by.

    That is its position in an instrument, if it has one, the instrument and its splits in force.
    Raises AccountNotFound; OrderRuleBroken where the symbol is nobody's any more.
    """
    accounts, positions, instruments, splits = find_together(
        Wanted(Account, lock=True, id=account_id),
        Wanted(Position, account_id=account_id, instrument_id=listed.pk),
        Wanted(Instrument, id=listed.pk),
        wanted_splits(listed.pk),
    )
    if not accounts:
        raise AccountNotFound
    if not instruments or instruments[0].symbol != listed.symbol:
        return lock_account_for(account_id, find_listed(listed.symbol, anew=True))
    position = positions[0] if positions else None
    return accounts[0], position, instruments[0], splits_in(splits, listed.symbol)


def lock_order(account: Account, order_id: UUID) -> Order:
    """The order of a locked account, locked. Raises OrderNotFound, also for another account's."""
    _assert_in_transaction()
    rows = Order.objects.select_for_update().filter(account=account, public_id=order_id)
    order = rows.first()
    if order is None:
        raise OrderNotFound(order_id)
    return order


def lock_orders(pks: Iterable[int]) -> dict[int, Order]:
    """The orders by row id, locked in that order; their accounts are locked already."""
    return {order.pk: order for order in find_rows(Order, lock=True, id=set(pks))}


def lock_relatives(orders: Collection[Order]) -> list[Order]:
    """The other orders of their brackets, OCOs and OTOs, locked, by row id.

    The account is locked already, so nobody else holds or changes any of them.
    """
    families = {family_of(order) for order in orders if is_complex(order)}
    if not families:
        return []
    known = {order.pk for order in orders}
    parents = lock_orders(families - known)
    legs = find_rows(Order, lock=True, parent_id=families)
    return [*parents.values(), *(leg for leg in legs if leg.pk not in known)]


def _assert_in_transaction() -> None:
    assert transaction.get_connection().in_atomic_block, "a lock lives in a transaction"
