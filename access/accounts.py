"""Beginning anew: another account takes the place of one, keys and all."""

from __future__ import annotations

from decimal import Decimal
from functools import partial
from typing import Any

from django.db import transaction

from access import lookups
from access.errors import OrdersStillOpen
from access.models import ApiKey
from access.shut_out import RESET
from events import log
from events.transactions import retried
from portfolios.accounts import check_amount, close_account, open_account
from portfolios.locks import lock_account
from portfolios.models import Account
from quotes.clock import market_clock
from quotes.streaming.bus import CONTROL, bus
from trading import states
from trading.kill_switch import cancel_what_is_left
from trading.models import Order

# What an owner has chosen for an account, and means for the one that takes its place too; and that
# an operator has frozen it, which its owner cannot undo.
CARRIED_OVER = ("multiplier", "shorting", "fractional_trading", "lot_method", "frozen")


def reset_account(*, account_id: int, cash: Decimal, actor: str) -> Account:
    """Close the account, cancel its orders and open another in its place; returns that one.

    No order is kept by force: a book that is closed has no margin to mend. The old book stays as it
    is, to be read. Keys move over. Three steps, each of which may be done again: whoever finds an
    account closed and without a successor resets it once more. Raises AccountNotFound,
    AmountInvalid, OrdersStillOpen, AccountBusy, Unavailable.
    """
    check_amount(cash)  # before what cannot be undone
    close_account(account_id=account_id, actor=actor)
    cancel_what_is_left(account_id=account_id, actor=actor, even_forced=True)
    return _succeed(account_id, cash, actor)


def reset_own_account(
    session: Any, *, account_id: int, acts_for: int | None, cash: Decimal, actor: str
) -> Account:
    """The same in a login session, which goes on with the new account where it acted for the old.

    One that stopped half-way leaves the session with the closed account, to be reset once more.
    """
    if acts_for == account_id:
        session["account_id"] = account_id
    new = reset_account(account_id=account_id, cash=cash, actor=actor)
    if acts_for == account_id:
        session["account_id"] = new.pk
    return new


@retried
@transaction.atomic(durable=True)
def _succeed(account_id: int, cash: Decimal, actor: str) -> Account:
    old = lock_account(account_id)

    if old.successor is not None:
        return old.successor
    if left := Order.objects.filter(account=old, status__in=states.OPEN).count():
        raise OrdersStillOpen(open_orders=left)

    new = open_account(user=old.user, name=old.name, cash=cash, actor=actor)
    for name in CARRIED_OVER:
        setattr(new, name, getattr(old, name))
    new.save(update_fields=CARRIED_OVER)
    keys = ApiKey.objects.filter(account=old, revoked_at=None).update(account=new)
    old.successor = new

    log.record(
        RESET,
        actor=actor,
        subject=f"account:{old.public_id}",
        account=old,
        at=market_clock().now(),
        payload={"successor": new.number, "keys": keys, "frozen": new.frozen},
    )
    old.save(update_fields=["successor", "event_sequence"])

    transaction.on_commit(partial(_announce, old))
    return new


def _announce(old: Account) -> None:
    lookups.user_changed(old.user_id)
    bus().publish(CONTROL, {"kind": "account_reset", "account_id": old.pk})
