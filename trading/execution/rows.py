"""The rows that a batch of decisions is settled on: locked and read in one trip."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from events.leases import Lease
from events.reads import Wanted, find_together
from portfolios.lot_rows import Key
from portfolios.models import Account, Position
from portfolios.positions import by_key, wanted_positions
from trading.execution.decisions import Decision
from trading.models import Order


class Rows(NamedTuple):
    """What a batch needs of the database, locked but for the positions, by row id and key."""

    accounts: dict[int, Account]
    orders: dict[int, Order]
    positions: dict[Key, Position]


def locked_rows(lease: Lease, decisions: Sequence[Decision], *, wait: bool) -> Rows:
    """All in one trip: lease, accounts and orders in the order in which everybody locks them.

    Without `wait` what somebody else has locked is left out; so is an account of which an order
    is. The orders of an account that is left out may be locked all the same, for nobody who has
    that account waits for them longer than this transaction takes.
    """
    keys = {(one.account_id, one.order.instrument_id) for one in decisions}
    pks = {one.order.pk for one in decisions}
    _, accounts, orders, held = find_together(
        lease.locked_and_checked(),
        Wanted(Account, lock=True, skip_locked=not wait, id={key[0] for key in keys}),
        Wanted(Order, lock=True, skip_locked=not wait, id=pks),
        wanted_positions(keys),
    )
    found = {order.pk: order for order in orders}
    left = {one.account_id for one in decisions if one.order.pk not in found and not wait}
    mine = {each.pk: each for each in accounts if each.pk not in left}
    return Rows(
        mine,
        {pk: order for pk, order in found.items() if order.account_id in mine},
        {key: position for key, position in by_key(held).items() if key[0] in mine},
    )
