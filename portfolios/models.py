"""Accounts and their books.

The ledger is double-entry and append-only. A posting moves a positive amount of one asset (USD or
an instrument) from one ledger to another of the same account's book, so each posting balances by
itself. `cash` and `shares` are the account's own ledgers; `street`, `funding`, `fees` and `income`
are contra ledgers without a balance of their own. `Account.cash`, `Position` and `Lot` are what
the postings add up to, kept in the same transaction and provable by `manage.py reconcile`.
"""

from __future__ import annotations

import uuid
from decimal import Decimal

from django.conf import settings
from django.db import models
from django.db.models import F, Q

from quotes.amounts import (
    BALANCE_MAX,
    QUANTITY_MAX,
    cash_field,
    per_share_field,
    price_field,
    quantity_field,
)
from quotes.models import CorporateAction, Instrument


class LotMethod(models.TextChoices):
    """Which lots a closing execution relieves first."""

    FIFO = "fifo"  # the oldest
    LIFO = "lifo"  # the newest
    HIFO = "hifo"  # the dearest, of equally dear ones the newest
    SPECIFIC = "specific"  # those that the order names, then the oldest


class Account(models.Model):
    """The unit of locking, ordering and ownership: one book of cash, positions and orders."""

    class Status(models.TextChoices):
        ACTIVE = "ACTIVE"
        CLOSED = "ACCOUNT_CLOSED"

    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    number = models.CharField(max_length=16, unique=True)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="accounts")
    name = models.CharField(max_length=64, default="Paper")
    status = models.CharField(max_length=16, choices=Status.choices, default=Status.ACTIVE)
    frozen = models.BooleanField(default=False)  # by an operator: no new orders
    trading_suspended = models.BooleanField(default=False)  # by the user: no new orders
    shorting = models.BooleanField(default=True)  # the user's choice: may sells open a short?
    fractional_trading = models.BooleanField(default=True)  # the user's choice
    multiplier = models.PositiveSmallIntegerField(default=1)  # 1 cash, 2 margin, 4 intraday margin
    lot_method = models.CharField(max_length=8, choices=LotMethod.choices, default=LotMethod.FIFO)
    # A margin call: since when (market time), and when the operator's rule closes positions.
    called_at = models.DateTimeField(null=True)
    call_due_at = models.DateTimeField(null=True)
    cash = cash_field(default=Decimal(0))
    hold_cash = cash_field(default=Decimal(0))  # the sum of the open orders' cash holds
    # Of the last trade date with a posting, so that "since the previous close" needs no history.
    day_on = models.DateField(null=True)
    day_open_cash = cash_field(default=Decimal(0))  # cash before it, and what was paid in since
    event_sequence = models.BigIntegerField(default=0)
    transaction_sequence = models.BigIntegerField(default=0)
    last_order_at = models.DateTimeField(null=True)  # market time; order timestamps strictly rise
    # The account that took its place when its owner began anew.
    successor = models.OneToOneField("self", models.PROTECT, null=True, related_name="predecessor")
    created_at = models.DateTimeField()  # market time
    recorded_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(cash__gte=-BALANCE_MAX, cash__lte=BALANCE_MAX),
                name="account_cash_bound",
            ),
            models.CheckConstraint(
                condition=Q(hold_cash__gte=Decimal(0)), name="account_hold_not_negative"
            ),
            models.CheckConstraint(
                condition=Q(multiplier__in=[1, 2, 4]), name="account_multiplier_offered"
            ),
        ]
        # Margin calls walk the accounts that may borrow, and those are few among many.
        indexes = [models.Index(fields=["multiplier", "id"], name="account_by_multiplier")]
        # What an operator may do beyond changing an account, which is to freeze or stop it.
        permissions = [
            ("move_cash", "Can move cash into, out of and between accounts"),
            ("reset_account", "Can reset account: close it and open a fresh one"),
        ]

    def __str__(self) -> str:
        return self.number


# What a change of the books may alter on an account; whoever posts saves exactly these.
BOOK_FIELDS = (
    "cash",
    "hold_cash",
    "day_on",
    "day_open_cash",
    "event_sequence",
    "transaction_sequence",
)


class Ledger(models.TextChoices):
    CASH = "cash"
    SHARES = "shares"
    STREET = "street"
    FUNDING = "funding"
    FEES = "fees"
    INCOME = "income"


class PostingKind(models.TextChoices):
    TRADE = "trade"
    DEPOSIT = "deposit"
    WITHDRAWAL = "withdrawal"
    TRANSFER = "transfer"  # between two accounts of one user, a transaction in each
    DIVIDEND = "dividend"
    SPLIT = "split"


class Posting(models.Model):
    """One movement of one asset inside one account's book; never changed, never deleted.

    `instrument` null means USD. `amount` is a plain scaled integer: 4 decimals of USD, 9 decimals
    of shares.
    """

    account = models.ForeignKey(Account, models.PROTECT, db_index=False)
    transaction = models.BigIntegerField()  # numbered per account, gap-free
    n = models.PositiveSmallIntegerField()  # place within the transaction
    kind = models.CharField(max_length=16, choices=PostingKind.choices)
    instrument = models.ForeignKey(Instrument, models.PROTECT, null=True, db_index=False)
    source = models.CharField(max_length=8, choices=Ledger.choices)
    target = models.CharField(max_length=8, choices=Ledger.choices)
    amount = models.BigIntegerField()
    reference = models.CharField(max_length=64, blank=True)  # the execution or transfer behind it
    # On the shares of a trade that closed something in another order than the oldest first: the
    # method, and with `specific` the executions that opened the lots named.
    lot_choice = models.JSONField(null=True)
    # On shares: what the position was after the whole transaction, so that running totals and the
    # part each transaction had in them need no history.
    quantity_after = quantity_field(null=True)
    cost_after = cash_field(null=True)
    realized_after = cash_field(null=True)
    at = models.DateTimeField()  # market time
    recorded_at = models.DateTimeField()  # wall time

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["account", "transaction", "n"], name="posting_transaction_n"
            ),
            models.CheckConstraint(condition=Q(amount__gt=0), name="posting_amount_positive"),
            models.CheckConstraint(condition=~Q(source=F("target")), name="posting_moves"),
        ]
        indexes = [
            # The instrument first, because its foreign key wants an index of its own anyway.
            models.Index(fields=["instrument", "account", "transaction"], name="posting_of_shares"),
        ]

    def __str__(self) -> str:
        return f"{self.account_id}/{self.transaction}.{self.n}"


class AccountDay(models.Model):
    """A trade date on which something was posted, and the account as it was before that.

    Written with the day's first posting and never changed. With these and `PositionDay`, what an
    account was on any day is found in a few rows, however much it trades.
    """

    account = models.ForeignKey(Account, models.PROTECT, db_index=False)
    on = models.DateField()
    first_transaction = models.BigIntegerField()
    open_cash = cash_field()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["account", "on"], name="account_day_once"),
        ]

    def __str__(self) -> str:
        return f"{self.account_id} on {self.on}"


class PositionDay(models.Model):
    """A trade date on which an instrument's shares moved, and how many were held before that."""

    account = models.ForeignKey(Account, models.PROTECT, db_index=False)
    instrument = models.ForeignKey(Instrument, models.PROTECT)
    on = models.DateField()
    open_quantity = quantity_field()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["account", "on", "instrument"], name="position_day_once"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.account_id}, {self.instrument_id} on {self.on}"


class NonTradeActivity(models.Model):
    """What happened to an account without an order, in the words of Alpaca's activities.

    One for each transaction that is no trade; what moved stands in its postings.
    """

    class Type(models.TextChoices):
        DEPOSIT = "CSD"
        WITHDRAWAL = "CSW"
        TRANSFER = "JNLC"
        DIVIDEND = "DIV"
        SPLIT = "SPLIT"

    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    account = models.ForeignKey(Account, models.PROTECT, db_index=False)
    transaction = models.BigIntegerField()
    type = models.CharField(max_length=8, choices=Type.choices)
    net_amount = cash_field()  # what it did to cash
    # Of a corporate action: the shares that a dividend was paid on, or that a split added.
    instrument = models.ForeignKey(Instrument, models.PROTECT, null=True)
    quantity = quantity_field(null=True)
    per_share = per_share_field(null=True)  # USD
    description = models.CharField(max_length=200, blank=True)
    at = models.DateTimeField()  # market time
    on = models.DateField()  # the trade date it counts to

    class Meta:
        verbose_name_plural = "non-trade activities"
        constraints = [
            models.UniqueConstraint(fields=["account", "transaction"], name="activity_once"),
        ]
        indexes = [
            models.Index(fields=["account", "at", "id"], name="activity_by_account"),
        ]

    def __str__(self) -> str:
        return f"{self.type} {self.net_amount}"


class Entitlement(models.Model):
    """What a corporate action did to one account: written with it, so that it is done once.

    `transaction` is null where it moved nothing, and `problem` says why where it could not.
    `reversal` is the transaction that took it back.
    """

    action = models.ForeignKey(CorporateAction, models.PROTECT, db_index=False)
    account = models.ForeignKey(Account, models.PROTECT)
    quantity = quantity_field()  # shares that counted, negative when short
    transaction = models.BigIntegerField(null=True)
    reversal = models.BigIntegerField(null=True)
    problem = models.CharField(max_length=200, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["action", "account"], name="entitlement_once"),
        ]

    def __str__(self) -> str:
        return f"{self.account_id}: {self.quantity} in action {self.action_id}"


class Position(models.Model):
    """What an account holds of one instrument. A row at quantity 0 keeps its realised profit."""

    account = models.ForeignKey(Account, models.PROTECT, db_index=False)
    instrument = models.ForeignKey(Instrument, models.PROTECT)
    quantity = quantity_field(default=Decimal(0))  # negative when short
    hold_quantity = quantity_field(default=Decimal(0))  # the sum of the open sells' share holds
    cost_basis = cash_field(default=Decimal(0))  # its lots' remaining cost, negative when short
    realized = cash_field(default=Decimal(0))  # profit and loss of everything closed so far
    # Of the last trade date with an execution, as on the account.
    day_on = models.DateField(null=True)
    day_open_quantity = quantity_field(default=Decimal(0))  # before that day's first execution
    day_flow = cash_field(default=Decimal(0))  # that day's proceeds less costs and fees
    # Of what is held, the shares of lots that this day opened, and their cost; signed as lots are.
    day_opened_quantity = quantity_field(default=Decimal(0))
    day_opened_cost = cash_field(default=Decimal(0))
    updated_at = models.DateTimeField()  # market time

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["account", "instrument"], name="position_once"),
            models.CheckConstraint(
                condition=Q(quantity__gte=-QUANTITY_MAX, quantity__lte=QUANTITY_MAX),
                name="position_quantity_bound",
            ),
            models.CheckConstraint(
                condition=Q(hold_quantity__gte=Decimal(0)), name="position_hold_not_negative"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.account_id} holds {self.quantity} of {self.instrument_id}"


class Lot(models.Model):
    """Shares opened by one execution and not yet closed.

    A lot that is closed is deleted: its story is in the postings, and an account's lots stay as
    few as what it holds.
    """

    account = models.ForeignKey(Account, models.PROTECT, db_index=False)
    instrument = models.ForeignKey(Instrument, models.PROTECT)
    execution_id = models.UUIDField()
    price = price_field()  # what a share of it cost, from the cash that was posted
    quantity_opened = quantity_field()  # negative for a short lot
    quantity_left = quantity_field()
    cost_left = cash_field()  # of what is left, negative for a short lot
    fee_left = cash_field(default=Decimal(0))  # its opening fee, pro rata of what is left
    opened_at = models.DateTimeField()  # market time
    opened_on = models.DateField(null=True)  # the trade date it counts to; null: a day long past

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=~Q(quantity_left=Decimal(0)), name="lot_has_something_left"
            ),
        ]
        indexes = [
            models.Index(fields=["account", "instrument", "id"], name="lot_fifo"),
            models.Index(fields=["account", "instrument", "price", "id"], name="lot_hifo"),
        ]

    def __str__(self) -> str:
        return f"{self.quantity_left} of {self.instrument_id} at {self.price}"


class Watchlist(models.Model):
    """A named list of instruments that a user watches."""

    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    account = models.ForeignKey(Account, models.CASCADE, related_name="watchlists", db_index=False)
    name = models.CharField(max_length=64)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["account", "name"], name="watchlist_name_once"),
        ]

    def __str__(self) -> str:
        return self.name


class WatchlistEntry(models.Model):
    """One instrument on a watchlist, in the order it was added."""

    watchlist = models.ForeignKey(Watchlist, models.CASCADE, related_name="entries", db_index=False)
    instrument = models.ForeignKey(Instrument, models.CASCADE)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["watchlist", "instrument"], name="watchlist_entry_once"
            ),
        ]
        ordering = ["id"]

    def __str__(self) -> str:
        return f"{self.instrument_id} on {self.watchlist_id}"
