"""Break the books in every way they can be broken, and see that it is named."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from io import StringIO
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command
from django.db.models import F

from events.models import Event
from portfolios.accounts import deposit
from portfolios.models import Account, Lot, Position, Posting
from portfolios.reconcile import CHECKS, Compared, reconcile
from tests.portfolios.factories import funded_account, make_instrument, trade

pytestmark = pytest.mark.django_db


@pytest.fixture
def account() -> Account:
    """A bit of everything: two lots, one begun, a short, fees, an instrument closed."""
    account = funded_account("10000")
    trade(account, "buy", "10", "100", fee="1")
    trade(account, "buy", "3", "33.3333", fee="1")
    trade(account, "sell", "4", "110", fee="1")
    trade(account, "sell", "2", "50", instrument=make_instrument("IBM"))
    trade(account, "buy", "1", "10", instrument=make_instrument("BAC"))
    trade(account, "sell", "1", "12", instrument=make_instrument("BAC"))
    return account


def broken_invariants(account: Account) -> set[str]:
    return {line.invariant for line in reconcile([account.pk], CHECKS).mismatches}


def test_right_books_agree_and_every_row_is_counted(account):
    report = reconcile([account.pk], CHECKS)

    assert report.agrees
    assert report.mismatches == []
    assert report.accounts == 1
    assert report.tallies["account cash equals its postings"].rows == 1
    assert report.tallies["lots add up to their position"].rows == 3


def test_all_accounts_are_compared_unless_some_are_named(account, monkeypatch):
    monkeypatch.setattr("portfolios.reconcile.SLICE", 2)
    others = [funded_account() for _ in range(4)]

    assert reconcile(None, CHECKS).accounts == 5
    assert reconcile([others[0].pk], CHECKS).accounts == 1


@pytest.mark.parametrize(
    ("rows", "change", "broken"),
    [
        (Account, {"cash": F("cash") + 1}, {"account cash equals its postings"}),
        (
            Account,
            {"transaction_sequence": F("transaction_sequence") + 1},
            {"transactions are numbered without a gap"},
        ),
        (
            Account,
            {"event_sequence": F("event_sequence") + 1},
            {"events are numbered without a gap"},
        ),
        (
            Account,
            {"day_open_cash": F("day_open_cash") + 1},
            {"the day's opening cash equals its postings"},
        ),
        (
            Position,
            {"realized": F("realized") + 1},
            {"position cost, profit and day equal the replayed ledger"},
        ),
        (
            Position,
            {"day_flow": F("day_flow") + 1},
            {"position cost, profit and day equal the replayed ledger"},
        ),
        (
            Position,
            {"quantity": F("quantity") + 1},
            {"position quantity equals its postings", "lots add up to their position"},
        ),
        (
            Position,
            {"cost_basis": F("cost_basis") + 1},
            {
                "position cost, profit and day equal the replayed ledger",
                "lots add up to their position",
            },
        ),
        (Lot, {"fee_left": F("fee_left") + 1}, {"lots equal the replayed ledger"}),
        (Lot, {"execution_id": uuid4()}, {"lots equal the replayed ledger"}),
        (
            Lot,
            {"cost_left": F("cost_left") + 1},
            {"lots equal the replayed ledger", "lots add up to their position"},
        ),
    ],
)
def test_a_stored_number_that_is_off_by_the_last_digit_is_named(account, rows, change, broken):
    rows.objects.update(**change)  # F adds a unit of the column: the last digit it keeps

    assert broken_invariants(account) == broken


@pytest.mark.parametrize("kind", ["trade", "deposit"])
def test_a_posting_that_was_changed_is_found(account, kind):
    Posting.objects.filter(pk=Posting.objects.filter(kind=kind)[0].pk).update(
        amount=F("amount") + 1
    )

    assert "account cash equals its postings" in broken_invariants(account)


def test_a_posting_that_was_deleted_is_found(account):
    Posting.objects.filter(target="shares")[0].delete()

    assert "transactions replay as they were posted" in broken_invariants(account)


def test_a_trade_in_two_ledgers_at_once_does_not_replay(account):
    Posting.objects.filter(kind="trade", target="street").update(target="income")

    assert broken_invariants(account) == {"transactions replay as they were posted"}


def test_a_transaction_that_is_missing_is_found(account):
    deposit(account_id=account.pk, amount=Decimal(5), actor="user:1")
    deposit(account_id=account.pk, amount=Decimal(5), actor="user:1")
    Posting.objects.filter(account=account, transaction=8).delete()

    assert "transactions are numbered without a gap" in broken_invariants(account)


def test_an_event_that_is_missing_is_found(account):
    Event.objects.filter(account_id=account.pk, account_sequence=1).delete()

    assert broken_invariants(account) == {"events are numbered without a gap"}


def test_a_lot_without_a_position_is_found(account):
    Lot.objects.filter(instrument__symbol="IBM").update(instrument=make_instrument("XYZ"))

    lines = [
        line
        for line in reconcile([account.pk], CHECKS).mismatches
        if line.invariant == "lots add up to their position"
    ]
    assert {line.subject.split(", ")[1][:10] for line in lines} == {"IBM", "instrument"}


def test_an_account_that_changes_meanwhile_is_looked_at_again(account):
    looks = []

    def disturbed(seen: Account) -> Iterator[Compared]:
        looks.append(seen.event_sequence)
        if len(looks) == 1:
            deposit(account_id=account.pk, amount=Decimal(1), actor="user:1")
            yield Compared("half of a change", "account", 1, 2)

    report = reconcile([account.pk], [disturbed])

    assert looks == [2, 3]
    assert report.agrees


def test_an_account_that_never_rests_is_locked(account):
    locked = []

    def restless(seen: Account) -> Iterator[Compared]:
        if len(locked) < 3:
            deposit(account_id=account.pk, amount=Decimal(1), actor="user:1")
        locked.append(seen.event_sequence)
        yield Compared("events", "account", seen.event_sequence, 5)

    report = reconcile([account.pk], [restless])

    assert len(locked) == 4
    assert report.agrees


def test_the_command_prints_every_invariant_and_fails_on_a_mismatch(account):
    out = StringIO()
    Account.objects.update(cash=F("cash") + 1)

    with pytest.raises(CommandError) as failure:
        call_command("reconcile", account=account.number, stdout=out)

    assert failure.value.returncode == 1
    text = out.getvalue()
    assert "lots add up to their position" in text
    found = Account.objects.get(pk=account.pk).cash
    assert (
        f"MISMATCH account {account.number}: account cash equals its postings: "
        f"must be {found - Decimal('0.0001')}, is {found}" in text
    )


def test_the_command_is_content_with_right_books():
    funded_account()
    out = StringIO()

    call_command("reconcile", stdout=out)

    assert "1 compared, agree" in out.getvalue()
    assert out.getvalue().endswith("1 accounts\n")


def test_the_command_knows_no_such_account():
    with pytest.raises(CommandError) as failure:
        call_command("reconcile", account="PA0")

    assert failure.value.returncode == 2
