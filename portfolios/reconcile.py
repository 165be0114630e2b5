"""Proof that the books agree: every number that is kept twice, compared.

A check is a function of one account that yields `Compared` lines. Each app that keeps such numbers
has a tuple `CHECKS`; settings name the tuples in RECONCILE_CHECKS, so that trading can add its own
(orders and holds, fills and postings) without being imported from here.

The checks run beside a working market. An account's counters tell whether it changed meanwhile;
then it is looked at again, at last under its lock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal

from django.conf import settings
from django.db import transaction
from django.db.models import Max
from django.utils.module_loading import import_string

from events.models import Event
from portfolios.locks import lock_account
from portfolios.models import (
    Account,
    AccountDay,
    Lot,
    NonTradeActivity,
    Position,
    PositionDay,
)
from portfolios.rebuild import Books, day_facts, rebuild
from quotes.clock import market_clock

ZERO = Decimal(0)

SLICE = 500  # accounts fetched at a time
TRIES_UNLOCKED = 3
MISMATCHES_SHOWN_MAX = 1_000  # beyond, they are only counted


@dataclass(frozen=True, slots=True)
class Compared:
    """Two values that must be equal: what the books must say, and what they say."""

    invariant: str  # "account cash equals its postings"
    subject: str  # "account PA…", "account PA…, AAPL"
    expected: object
    found: object

    @property
    def agrees(self) -> bool:
        return self.expected == self.found


Check = Callable[[Account], Iterable[Compared]]


@dataclass(slots=True)
class Tally:
    rows: int = 0
    mismatches: int = 0


@dataclass(slots=True)
class Report:
    """What was compared, by invariant, and every disagreement."""

    accounts: int = 0
    tallies: dict[str, Tally] = field(default_factory=dict)
    mismatches: list[Compared] = field(default_factory=list)

    @property
    def agrees(self) -> bool:
        return not any(tally.mismatches for tally in self.tallies.values())

    def count(self, line: Compared) -> None:
        tally = self.tallies.setdefault(line.invariant, Tally())
        tally.rows += 1
        if not line.agrees:
            tally.mismatches += 1
            if len(self.mismatches) < MISMATCHES_SHOWN_MAX:
                self.mismatches.append(line)

    def add(self, other: Report) -> None:
        self.accounts += other.accounts
        for invariant, counted in other.tallies.items():
            tally = self.tallies.setdefault(invariant, Tally())
            tally.rows += counted.rows
            tally.mismatches += counted.mismatches
        room = MISMATCHES_SHOWN_MAX - len(self.mismatches)
        self.mismatches += other.mismatches[:room]


def configured_checks() -> list[Check]:
    """Every app's checks, as settings name them."""
    return [check for path in settings.RECONCILE_CHECKS for check in import_string(path)]


def reconcile(
    account_ids: Iterable[int] | None = None, checks: Iterable[Check] | None = None
) -> Report:
    """Compare the books of these accounts, of all where none are named. Changes nothing."""
    checks = configured_checks() if checks is None else list(checks)
    report = Report()
    for account_id in _all_ids() if account_ids is None else account_ids:
        report.add(_check(account_id, checks))
    return report


def _all_ids() -> Iterator[int]:
    after = 0
    while ids := list(
        Account.objects.filter(pk__gt=after).order_by("pk").values_list("pk", flat=True)[:SLICE]
    ):
        yield from ids
        after = ids[-1]


def _check(account_id: int, checks: list[Check]) -> Report:
    for _ in range(TRIES_UNLOCKED):
        account = Account.objects.get(pk=account_id)
        report = _look(account, checks)
        if _counters(Account.objects.get(pk=account_id)) == _counters(account):
            return report
    with transaction.atomic():
        return _look(lock_account(account_id), checks)


def _look(account: Account, checks: list[Check]) -> Report:
    """One account's lines, counted as they come, so that a long past needs no memory."""
    report = Report(accounts=1)
    for check in checks:
        for line in check(account):
            report.count(line)
    return report


def _counters(account: Account) -> tuple[int, int]:
    """Every change of an account's books or orders writes an event, so these tell them apart."""
    return account.event_sequence, account.transaction_sequence


def ledger_agrees(account: Account) -> Iterator[Compared]:
    """The account, its positions and its lots are what the replayed ledger makes of them."""
    books = rebuild(account.pk, market_clock().calendar)
    yield from _account_lines(account, books)
    yield from _past_lines(account, books)
    positions = {
        row.instrument_id: row
        for row in Position.objects.filter(account_id=account.pk).select_related("instrument")
    }
    lots: dict[int, list[Lot]] = {}
    for lot in Lot.objects.filter(account_id=account.pk).order_by("pk"):
        lots.setdefault(lot.instrument_id, []).append(lot)
    for instrument_id in sorted(positions.keys() | books.positions.keys() | lots.keys()):
        position = positions.get(instrument_id)
        name = position.instrument.symbol if position else f"instrument {instrument_id}"
        yield from _position_lines(
            f"account {account.number}, {name}",
            stored=(position, lots.get(instrument_id, [])),
            replayed=(books.positions.get(instrument_id), books.lots.get(instrument_id, [])),
        )


def _account_lines(account: Account, books: Books) -> Iterator[Compared]:
    subject = f"account {account.number}"
    replayed = books.account
    yield Compared("account cash equals its postings", subject, replayed.cash, account.cash)
    yield Compared("transactions replay as they were posted", subject, [], books.broken)
    yield Compared(
        "transactions are numbered without a gap",
        subject,
        replayed.transaction_sequence,
        account.transaction_sequence,
    )
    yield Compared(
        "the day's opening cash equals its postings",
        subject,
        (replayed.day_on, replayed.day_open_cash),
        (account.day_on, account.day_open_cash),
    )


def _past_lines(account: Account, books: Books) -> Iterator[Compared]:
    subject = f"account {account.number}"
    days = [
        day_facts(day)
        for model in (AccountDay, PositionDay)
        for day in model.objects.filter(account_id=account.pk)
    ]
    yield Compared("each day began with what it found", subject, sorted(books.days), sorted(days))
    activities = NonTradeActivity.objects.filter(account_id=account.pk).order_by("transaction")
    yield Compared(
        "all that is no trade is an activity",
        subject,
        books.activities,
        list(activities.values_list("transaction", "net_amount")),
    )


def _position_lines(
    subject: str,
    *,
    stored: tuple[Position | None, list[Lot]],
    replayed: tuple[Position | None, list[Lot]],
) -> Iterator[Compared]:
    position = stored[0] or Position()
    expected = replayed[0] or Position()
    yield Compared(
        "position quantity equals its postings", subject, expected.quantity, position.quantity
    )
    yield Compared(
        "position cost, profit and day equal the replayed ledger",
        subject,
        _position_facts(expected),
        _position_facts(position),
    )
    yield Compared(
        "lots equal the replayed ledger",
        subject,
        [_lot_facts(lot) for lot in replayed[1]],
        [_lot_facts(lot) for lot in stored[1]],
    )
    yield Compared(
        "lots add up to their position",
        subject,
        (position.quantity, position.cost_basis),
        (
            sum((lot.quantity_left for lot in stored[1]), ZERO),
            sum((lot.cost_left for lot in stored[1]), ZERO),
        ),
    )


def _position_facts(position: Position) -> tuple[object, ...]:
    return (
        position.cost_basis,
        position.realized,
        position.day_on,
        position.day_open_quantity,
        position.day_flow,
        position.day_opened_quantity,
        position.day_opened_cost,
    )


def _lot_facts(lot: Lot) -> tuple[object, ...]:
    return (
        lot.execution_id,
        lot.price,
        lot.quantity_opened,
        lot.quantity_left,
        lot.cost_left,
        lot.fee_left,
        lot.opened_at,
    )


def events_agree(account: Account) -> Iterator[Compared]:
    """The account's events are numbered 1, 2, … up to its counter; the number is unique anyway."""
    events = Event.objects.filter(account_id=account.pk)
    last = events.aggregate(last=Max("account_sequence"))["last"] or 0
    yield Compared(
        "events are numbered without a gap",
        f"account {account.number}",
        (account.event_sequence, account.event_sequence),
        (events.count(), last),
    )


CHECKS: tuple[Check, ...] = (ledger_agrees, events_agree)
