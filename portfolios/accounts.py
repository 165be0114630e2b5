"""Opening and closing accounts, moving cash in, out and between them, freezing them."""

from __future__ import annotations

import secrets
from decimal import ROUND_DOWN, Decimal
from functools import partial
from typing import Any
from uuid import uuid4

from django.contrib.auth import get_user_model
from django.db import IntegrityError, transaction
from django.db.models import QuerySet

from events import log
from events.transactions import retried
from portfolios import ledger
from portfolios.borrowing import NO_MARKS, OwnMarks, margin_locked, margin_now, with_marks
from portfolios.errors import (
    AccountClosed,
    AccountNotFound,
    AmountInvalid,
    InsufficientFunds,
    TooManyAccounts,
)
from portfolios.ledger import Move
from portfolios.locks import lock_account, lock_accounts
from portfolios.margin import CASH
from portfolios.models import BOOK_FIELDS, Account, Ledger, NonTradeActivity, PostingKind
from quotes.amounts import BALANCE_MAX, plain
from quotes.clock import market_clock

ZERO = Decimal(0)
CENT = Decimal("0.01")

ACTIVITY_TYPES = {
    PostingKind.DEPOSIT: NonTradeActivity.Type.DEPOSIT,
    PostingKind.WITHDRAWAL: NonTradeActivity.Type.WITHDRAWAL,
    PostingKind.TRANSFER: NonTradeActivity.Type.TRANSFER,
}

STARTING_CASH = Decimal(100_000)  # USD of a new paper account, as the field's paper accounts have
ACCOUNTS_PER_USER_MAX = 20  # open ones, by their own hand

# As in Alpaca's paper accounts; no letter or digit that is easily taken for another.
_NUMBER_ALPHABET = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"
_NUMBER_LENGTH = 10
_NUMBER_TRIES = 5


@retried
@transaction.atomic
def open_account(*, user: Any, name: str = "Paper", cash: Decimal, actor: str) -> Account:
    """Open an account for a user and fund it with its first deposit.

    May run inside a larger transaction, so that signing up is one change. Raises AmountInvalid.
    """
    amount = check_amount(cash)

    account = _insert(user, name)

    log.record(
        "portfolios.account.opened",
        actor=actor,
        subject=f"account:{account.public_id}",
        account=account,
        at=account.created_at,
        payload={"number": account.number},
    )
    _move_cash(account, PostingKind.DEPOSIT, amount, actor)
    return account


@retried
@transaction.atomic(durable=True)
def open_another_account(*, user: Any, name: str, cash: Decimal, actor: str) -> Account:
    """Open one more account by the user's own hand. Raises AmountInvalid, TooManyAccounts."""
    _lock_user(user)
    if _open_accounts(user).count() >= ACCOUNTS_PER_USER_MAX:
        raise TooManyAccounts(maximum=ACCOUNTS_PER_USER_MAX)
    return open_account(user=user, name=name, cash=cash, actor=actor)


@retried
@transaction.atomic(durable=True)
def open_first_account(*, user: Any, cash: Decimal, actor: str) -> Account:
    """The user's oldest open account, opened where there is none. Raises AmountInvalid."""
    _lock_user(user)
    first = _open_accounts(user).order_by("pk").first()
    return first or open_account(user=user, cash=cash, actor=actor)


def _lock_user(user: Any) -> None:
    """Nobody opens another account for the user before this transaction ends."""
    get_user_model().objects.select_for_update().get(pk=user.pk)


def _open_accounts(user: Any) -> QuerySet[Account]:
    return Account.objects.filter(user_id=user.pk, status=Account.Status.ACTIVE)


def _insert(user: Any, name: str) -> Account:
    """The row, locked as long as its transaction lasts because nobody else can see it yet."""
    for attempt in range(1, _NUMBER_TRIES + 1):
        number = "PA" + "".join(secrets.choice(_NUMBER_ALPHABET) for _ in range(_NUMBER_LENGTH))
        try:
            with transaction.atomic():
                return Account.objects.create(
                    user=user, name=name, number=number, created_at=market_clock().now()
                )
        except IntegrityError:
            if attempt == _NUMBER_TRIES or not Account.objects.filter(number=number).exists():
                raise
    raise AssertionError("unreachable: the last attempt returns or raises")


@retried
@transaction.atomic(durable=True)
def deposit(*, account_id: int, amount: Decimal, actor: str) -> Account:
    """Pay cash into the account: funding → cash.

    Raises AccountNotFound, AccountClosed, AmountInvalid, BoundExceeded.
    """
    amount = check_amount(amount)
    account = lock_account(account_id)
    _check_open(account)

    _move_cash(account, PostingKind.DEPOSIT, amount, actor)
    return account


def withdraw(*, account_id: int, amount: Decimal, actor: str) -> Account:
    """Pay cash out of the account, as far as no order or position needs it: cash → funding.

    Raises AccountNotFound, AccountClosed, AmountInvalid, InsufficientFunds.
    """
    return with_marks(account_id, partial(_withdraw, account_id, check_amount(amount), actor))


@retried
@transaction.atomic(durable=True)
def _withdraw(account_id: int, amount: Decimal, actor: str, marks: OwnMarks | None) -> Account:
    account = lock_account(account_id)
    _check_open(account)
    _check_free(account, amount, marks)

    _move_cash(account, PostingKind.WITHDRAWAL, -amount, actor)
    return account


def transfer(
    *, source_id: int, target_id: int, amount: Decimal, actor: str
) -> tuple[Account, Account]:
    """Move cash from one account to another of the same user, through funding; both as they are.

    One transaction in each book, with a reference in common. Raises AccountNotFound where one is
    not there or another's, AccountClosed, AmountInvalid, InsufficientFunds, BoundExceeded.
    """
    amount = check_amount(amount)
    return with_marks(source_id, partial(_transfer, source_id, target_id, amount, actor))


@retried
@transaction.atomic(durable=True)
def _transfer(
    source_id: int, target_id: int, amount: Decimal, actor: str, marks: OwnMarks | None
) -> tuple[Account, Account]:
    accounts = lock_accounts([source_id, target_id])
    source, target = accounts.get(source_id), accounts.get(target_id)
    if source is None or target is None or source.user_id != target.user_id:
        raise AccountNotFound
    if source_id == target_id:
        raise AmountInvalid("a transfer needs two accounts")
    _check_open(source)
    _check_open(target)
    _check_free(source, amount, marks)

    reference = str(uuid4())
    _move_cash(source, PostingKind.TRANSFER, -amount, actor, f"to {target.number}", reference)
    _move_cash(target, PostingKind.TRANSFER, amount, actor, f"from {source.number}", reference)
    return source, target


def _check_open(account: Account) -> None:
    if account.status != Account.Status.ACTIVE:
        raise AccountClosed(account_number=account.number)


def _check_free(account: Account, amount: Decimal, marks: OwnMarks | None) -> None:
    """Raise InsufficientFunds where an order or a position needs some of it; MarksNeeded."""
    # What a cash account may spend depends on no price.
    is_cash = account.multiplier == CASH
    margin = margin_now(account, NO_MARKS) if is_cash else margin_locked(account, marks)
    # What was borrowed is not paid out, nor what shorts were sold for.
    free = min(margin.non_marginable_power, max(margin.cash_of_its_own, ZERO))
    if amount > free:
        raise InsufficientFunds(
            "insufficient cash to withdraw", requested=plain(amount), buying_power=plain(free)
        )


def check_amount(amount: Decimal) -> Decimal:
    """The amount, if that much cash can be moved at once. Raises AmountInvalid."""
    in_range = amount.is_finite() and 0 < amount <= BALANCE_MAX
    if not in_range or amount != amount.quantize(CENT, rounding=ROUND_DOWN):
        raise AmountInvalid(amount=amount)
    return amount


def _move_cash(
    account: Account,
    kind: PostingKind,
    amount: Decimal,
    actor: str,
    description: str = "",
    reference: str = "",
) -> None:
    """Post what comes into the locked account or leaves it (negative), record it, save it."""
    clock = market_clock()
    at = clock.now()
    trade_date = clock.calendar.trading_date(at)
    ways = (Ledger.FUNDING, Ledger.CASH) if amount > 0 else (Ledger.CASH, Ledger.FUNDING)
    ledger.post(
        account,
        kind=kind,
        moves=[Move.usd(*ways, abs(amount))],
        at=at,
        trade_date=trade_date,
        reference=reference,
    )
    NonTradeActivity.objects.create(
        account=account,
        transaction=account.transaction_sequence,
        type=ACTIVITY_TYPES[kind],
        net_amount=amount,
        description=description,
        at=at,
        on=account.day_on or trade_date,
    )

    log.record(
        "portfolios.cash.deposited" if amount > 0 else "portfolios.cash.withdrawn",
        actor=actor,
        subject=f"account:{account.public_id}",
        account=account,
        at=at,
        payload={
            "transaction": account.transaction_sequence,
            "amount": plain(abs(amount)),
            "cash": plain(account.cash),
            **({"transfer": reference} if reference else {}),
        },
    )
    account.save(update_fields=BOOK_FIELDS)


@retried
@transaction.atomic(durable=True)
def close_account(*, account_id: int, actor: str) -> Account:
    """Take no more orders and move no more cash; what it was stays readable, once and for all.

    Open orders are the caller's to cancel. Closing it again changes nothing. Raises
    AccountNotFound.
    """
    account = lock_account(account_id)

    if account.status == Account.Status.CLOSED:
        return account

    account.status = Account.Status.CLOSED

    log.record(
        "portfolios.account.closed",
        actor=actor,
        subject=f"account:{account.public_id}",
        account=account,
        at=market_clock().now(),
        payload={"cash": plain(account.cash)},
    )
    account.save(update_fields=["status", "event_sequence"])
    return account


def freeze(*, account_id: int, actor: str, reason: str) -> Account:
    """Stop the account from placing new orders. Raises AccountNotFound."""
    return _set_frozen(account_id, True, actor, reason)


def unfreeze(*, account_id: int, actor: str, reason: str) -> Account:
    """Let the account place orders again. Raises AccountNotFound."""
    return _set_frozen(account_id, False, actor, reason)


@retried
@transaction.atomic(durable=True)
def stop(*, account_id: int, actor: str, reason: str, by_operator: bool) -> Account:
    """Refuse every new order from now on: frozen by an operator, or suspended by its own user.

    Recorded even where it was so already. Raises AccountNotFound.
    """
    account = lock_account(account_id)

    account.frozen = account.frozen or by_operator
    account.trading_suspended = account.trading_suspended or not by_operator

    log.record(
        "portfolios.account.stopped",
        actor=actor,
        subject=f"account:{account.public_id}",
        account=account,
        at=market_clock().now(),
        payload={"reason": reason, "by_operator": by_operator},
    )
    account.save(update_fields=["frozen", "trading_suspended", "event_sequence"])
    return account


@retried
@transaction.atomic(durable=True)
def _set_frozen(account_id: int, frozen: bool, actor: str, reason: str) -> Account:
    account = lock_account(account_id)

    if account.frozen == frozen:
        return account

    account.frozen = frozen

    log.record(
        "portfolios.account.frozen" if frozen else "portfolios.account.unfrozen",
        actor=actor,
        subject=f"account:{account.public_id}",
        account=account,
        at=market_clock().now(),
        payload={"reason": reason},
    )
    account.save(update_fields=["frozen", "event_sequence"])
    return account
