"""Carrying out corporate actions when their time has come: account by account, in small steps.

In a market that is played (replay, stepped) the engine does it in order, between the ticks before
and after that instant. On wall time a thread beside the engine does, and no order of another
instrument waits for it; only the halt, with which a split begins, is made by the engine, in order.
Killed at any point, the next one goes on: what an action did to an account is written with it.

A split cancels every open order of the instrument, whatever its kind: quantity and prices meant
shares that are no more.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Iterator
from datetime import datetime

from django.db import InterfaceError, OperationalError, connection, transaction

from events.leases import Lease, LeaseLost
from events.transactions import retried
from portfolios import dividends, splits
from portfolios.locks import lock_account
from portfolios.models import Entitlement, Position
from quotes import corporate_actions
from quotes.clock import WALL_MODES, market_clock
from quotes.models import CorporateAction
from trading import states
from trading.ending import end
from trading.locks import lock_orders
from trading.models import Order, OrderStatus

SLICE = 200  # positions looked at together
ORDERS_MAX = 100  # that one transaction cancels
LOOK_SECONDS = 1.0
ACTOR = "engine"

logger = logging.getLogger(__name__)


def watch(lease: Lease, stop: threading.Event) -> None:
    """Carry out what is due, again and again until `stop`, or until the lease is lost."""
    try:
        while not stop.wait(LOOK_SECONDS):
            try:
                clock = market_clock()
                if clock.mode in WALL_MODES:
                    carry_out(clock.now(), between=lease.check, begins_splits=False)
            except LeaseLost:
                return
            except (OperationalError, InterfaceError) as error:
                logger.warning("corporate actions wait, the database is away: %s", error)
                connection.close()
            except Exception:
                logger.exception("a corporate action could not be carried out")
    finally:
        connection.close()


def carry_out(
    now: datetime,
    instrument_ids: Collection[int] | None = None,
    between: Callable[[], None] = lambda: None,
    *,
    begins_splits: bool = True,
) -> list[int]:
    """Carry out every action that is due at that market time, and finish what is half done.

    Of these instruments; of all where none are named. `between` is called before each account, for
    there may be many. Without `begins_splits` a split is left alone until the engine has begun it.
    Returns the orders that it canceled, by row id.
    """
    ended: list[int] = []
    while actions := corporate_actions.due(now, instrument_ids, begins_splits=begins_splits):
        for one in actions:
            between()
            action = corporate_actions.begin(one.pk, actor=ACTOR)
            if action.status in corporate_actions.ENDS:  # not called off or finished meanwhile
                ended += _carry_out(action, between)
    return ended


def _carry_out(action: CorporateAction, between: Callable[[], None]) -> list[int]:
    ended: list[int] = []
    is_split = action.kind == CorporateAction.Kind.SPLIT
    if is_split:
        for account_id in _accounts_with_orders(action):
            ended += _split(action, account_id, between)
    while positions := _next_slice(action):
        for position_id, account_id in positions:
            if is_split:
                ended += _split(action, account_id, between)
            else:
                between()
                book = dividends.pay if action.reverse_at is None else dividends.take_back
                book(action, account_id, actor=ACTOR)
            action.after_position = position_id
        action.accounts = Entitlement.objects.filter(action=action).exclude(quantity=0).count()
        if not corporate_actions.note_progress(action):
            return ended  # another is further; what is left is found due again
    corporate_actions.finish(action, actor=ACTOR)
    return ended


def _accounts_with_orders(action: CorporateAction) -> Iterator[int]:
    """The accounts with open orders of the instrument, by id."""
    rows = Order.objects.filter(instrument_id=action.instrument_id, status__in=states.OPEN)
    after = 0
    while found := list(
        rows.filter(account_id__gt=after)
        .order_by("account_id")
        .values_list("account_id", flat=True)
        .distinct()[:SLICE]
    ):
        yield from found
        after = found[-1]


def _split(action: CorporateAction, account_id: int, between: Callable[[], None]) -> list[int]:
    """Book the split in one account; the orders that ended."""
    ended: list[int] = []
    is_done = False
    while not is_done:
        between()
        pks, is_done = _split_or_end_some(action, account_id)
        ended += pks
    return ended


@retried
@transaction.atomic(durable=True)
def _split_or_end_some(action: CorporateAction, account_id: int) -> tuple[list[int], bool]:
    """One transaction: the open orders end and the books are split; where the orders are too many
    for one, only some of them end, and it is not done yet."""
    account = lock_account(account_id)
    if not corporate_actions.is_still_so(action):
        return [], True  # what this account holds now are the new shares already
    is_reversal = action.reverse_at is not None
    if is_reversal and dividends.to_take_back(action, account) is None:
        return [], True
    if not is_reversal and splits.is_booked(action, account):
        return [], True
    rows = Order.objects.filter(
        account_id=account_id, instrument_id=action.instrument_id, status__in=states.OPEN
    )
    pks = list(rows.order_by("pk").values_list("pk", flat=True)[:ORDERS_MAX])
    orders = list(lock_orders(pks).values())

    at = max([action.reverse_at or action.due_at, *(order.updated_at for order in orders)])
    end(account, orders, OrderStatus.CANCELED, at=at, actor=ACTOR, reason=f"canceled by {action}")
    if len(pks) < ORDERS_MAX:
        (splits.take_back if is_reversal else splits.book)(action, account, actor=ACTOR)
    return pks, len(pks) < ORDERS_MAX


def _next_slice(action: CorporateAction) -> list[tuple[int, int]]:
    """(row id, account id) of the next positions in the instrument, flat ones too."""
    rows = Position.objects.filter(instrument_id=action.instrument_id, pk__gt=action.after_position)
    return list(rows.order_by("pk").values_list("pk", "account_id")[:SLICE])
