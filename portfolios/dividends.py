"""Cash dividends: who held the shares before the ex-date is paid, who was short of them pays.

How many shares counted is found in the rows that each day began with, so it does not matter what
was traded since. A closed account is left as it is.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from django.db import transaction

from events import log
from events.transactions import retried
from portfolios import ledger
from portfolios.errors import BoundExceeded
from portfolios.ledger import Move
from portfolios.locks import lock_account
from portfolios.margin import CASH
from portfolios.models import (
    Account,
    Entitlement,
    Ledger,
    NonTradeActivity,
    Position,
    PositionDay,
    Posting,
    PostingKind,
)
from quotes.amounts import EXACT, plain, rounded
from quotes.clock import market_clock
from quotes.models import CorporateAction

ZERO = Decimal(0)


@retried
@transaction.atomic(durable=True)
def pay(action: CorporateAction, account_id: int, *, actor: str) -> Entitlement | None:
    """Pay the dividend to one account, or take it from a short one; None where it was done before
    or is nobody's. Shares × amount per share is rounded half-even to the ledger's 0.0001 USD.
    """
    account = lock_account(account_id)
    if Entitlement.objects.filter(action=action, account=account).exists():
        return None
    quantity = held_before(account, action)
    if quantity == 0 or account.status != Account.Status.ACTIVE:
        return None

    assert action.per_share is not None
    entitlement = Entitlement(action=action, account=account, quantity=quantity)
    amount = rounded(EXACT.multiply(quantity, action.per_share))
    try:
        if amount:
            _post(account, action, quantity, amount, at=action.due_at, actor=actor)
            entitlement.transaction = account.transaction_sequence
    except BoundExceeded as error:
        entitlement.problem = error.message
    entitlement.save(force_insert=True)
    return entitlement


def held_before(account: Account, action: CorporateAction) -> Decimal:
    """The account's shares when the trading day before the ex-date ended; negative when short."""
    key = {"account_id": account.pk, "instrument_id": action.instrument_id}
    days = PositionDay.objects.filter(on__gte=action.ex_on, **key).order_by("on")
    found: Decimal | None = days.values_list("open_quantity", flat=True).first()
    if found is None:
        found = Position.objects.filter(**key).values_list("quantity", flat=True).first()
    return found or ZERO


@retried
@transaction.atomic(durable=True)
def take_back(action: CorporateAction, account_id: int, *, actor: str) -> None:
    """Take the dividend back from one account, or give it back to a short one; once.

    Not where its shares moved since, the account is closed, or a cash account has spent it: then
    the entitlement says so, and nothing else happens.
    """
    account = lock_account(account_id)
    entitlement = to_take_back(action, account)
    if entitlement is None:
        return
    assert action.reverse_at is not None
    assert entitlement.transaction is not None
    paid = NonTradeActivity.objects.get(account=account, transaction=entitlement.transaction)
    quantity, amount = -entitlement.quantity, -paid.net_amount
    if why := _why_it_stays(account, amount):
        _keep(entitlement, why)
        return
    try:
        _post(account, action, quantity, amount, at=action.reverse_at, actor=actor)
        entitlement.reversal = account.transaction_sequence
    except BoundExceeded as error:
        entitlement.problem = error.message
    entitlement.save(update_fields=["reversal", "problem"])


def to_take_back(action: CorporateAction, account: Account) -> Entitlement | None:
    """What the action did to the locked account and is to be taken back; None where that is
    nothing, was done before, or its shares moved since, which is noted."""
    rows = Entitlement.objects.filter(action=action, account=account, problem="")
    entitlement = rows.filter(transaction__isnull=False, reversal=None).first()
    if entitlement is None:
        return None
    moved = Posting.objects.filter(
        account=account,
        instrument_id=action.instrument_id,
        transaction__gt=entitlement.transaction,
    )
    since = moved.order_by("transaction").values_list("transaction", flat=True).first()
    if since is None:
        return entitlement
    _keep(entitlement, f"its shares moved since, in transaction {since}")
    return None


def _why_it_stays(account: Account, amount: Decimal) -> str:
    """Why this much is not taken (negative) from the account, or given back; "" where it is."""
    if account.status != Account.Status.ACTIVE:
        return "the account is closed"
    free = account.cash - account.hold_cash
    if account.multiplier == CASH and amount < 0 and free + amount < 0:
        return f"of {plain(-amount)} USD only {plain(max(free, ZERO))} are there and free"
    return ""


def _keep(entitlement: Entitlement, why: str) -> None:
    """Note why what was done is not taken back."""
    entitlement.problem = f"not taken back: {why}"
    entitlement.save(update_fields=["problem"])


def _post(
    account: Account,
    action: CorporateAction,
    quantity: Decimal,
    amount: Decimal,
    *,
    at: datetime,
    actor: str,
) -> None:
    """Income → cash, or cash → income; with its activity and its event."""
    ways = (Ledger.INCOME, Ledger.CASH) if amount > 0 else (Ledger.CASH, Ledger.INCOME)
    is_reversal = action.reverse_at is not None
    trade_date = market_clock().calendar.trading_date(at)
    ledger.post(
        account,
        kind=PostingKind.DIVIDEND,
        moves=[Move.usd(*ways, abs(amount))],
        at=at,
        trade_date=trade_date,
        reference=str(action.public_id),
    )
    NonTradeActivity.objects.create(
        account=account,
        transaction=account.transaction_sequence,
        type=NonTradeActivity.Type.DIVIDEND,
        net_amount=amount,
        instrument=action.instrument,
        quantity=quantity,
        per_share=action.per_share,
        description=f"{action} taken back" if is_reversal else str(action),
        at=at,
        on=account.day_on or trade_date,
    )
    _record(account, action, quantity, amount, at, actor)
    ledger.save([account])


def _record(
    account: Account,
    action: CorporateAction,
    quantity: Decimal,
    amount: Decimal,
    at: datetime,
    actor: str,
) -> None:
    what = "paid" if action.reverse_at is None else "taken_back"
    log.record(
        f"portfolios.dividend.{what}",
        actor=actor,
        subject=f"account:{account.public_id}",
        account=account,
        at=at,
        payload={
            "symbol": action.instrument.symbol,
            "transaction": account.transaction_sequence,
            "qty": plain(quantity),
            "amount": plain(amount),
            "cash": plain(account.cash),
        },
    )
