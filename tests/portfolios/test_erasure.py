"""Erasing an account's payloads: they are gone, and the audit tells that from an alteration."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.test import Client

from events import chain, commands, log, relay
from events.models import ChainHead, Event, IdempotencyKey, Salt
from events.signing import Signer
from portfolios import erasure
from portfolios.accounts import close_account, deposit
from portfolios.models import Account
from tests.events.test_audit import audit, chain_all
from tests.people import a_trader
from tests.portfolios.factories import assert_books_balance, funded_account
from tests.waiting import PATIENCE_SECONDS, eventually

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def accounts(settings: Any, tmp_path: Path) -> list[Account]:
    """Two that have paid in six times, all of it chained; the first one is closed."""
    settings.AUDIT_HOME = tmp_path / "audit"
    signer = Signer(settings.AUDIT_HOME)
    ChainHead.objects.create(pk=ChainHead.ONLY, sequence=0, hash=chain.GENESIS)
    accounts = [funded_account("100"), funded_account("100")]
    for account in accounts * 5:
        deposit(account_id=account.pk, amount=account.cash, actor="test")
    close_account(account_id=accounts[0].pk, actor="test")
    chain_all()
    signer.sign()
    return accounts


def erase(account: Account, *options: str) -> str:
    said = StringIO()
    call_command("erase_payloads", account.number, *options, stdout=said, stderr=StringIO())
    return said.getvalue().strip()


def payloads(account: Account) -> list[dict[str, Any]]:
    rows = Event.objects.filter(account_id=account.pk).order_by("account_sequence")
    return list(rows.values_list("payload", flat=True))


def test_payloads_and_salt_go_and_the_chain_holds(accounts: list[Account]) -> None:
    erased, other = accounts
    kept = payloads(other)
    salt = Salt.objects.get(account_id=erased.pk).salt
    count = len(payloads(erased)) + 1  # and the event that says that it begins

    assert erase(erased, "--yes") == f"{count} events of account {erased.number} are erased"

    assert payloads(erased) == [{}] * (count + 1)
    assert payloads(other) == kept
    assert not Salt.objects.filter(account_id=erased.pk).exists()
    newest = Event.objects.filter(account_id=erased.pk).order_by("account_sequence").last()
    assert newest is not None
    assert newest.actor == commands.operator()
    chain_all()
    assert Salt.objects.get(account_id=erased.pk).salt != salt
    code, said = audit()
    assert code == 0, said
    assert f"{Event.objects.count()} events are as they were chained" in said
    assert f"{count - 1} of them erased" in said
    assert_books_balance(erased, other)


def test_no_answer_that_is_kept_tells_of_it(settings: Any, tmp_path: Path) -> None:
    settings.AUDIT_HOME = tmp_path / "audit"
    owner = a_trader()
    watchlist = {"name": "A secret", "symbols": []}
    send(owner.client(), "/v2/watchlists", "watch", watchlist)
    browser = owner.browser()
    other = send(browser, "/api/accounts", "open", {"name": "Other", "cash": "50.00"})
    paid = {"from_account": other["id"], "to_account": str(owner.account.public_id)}
    send(browser, "/api/transfers", "pay", {**paid, "amount": "5.00"})
    close_account(account_id=owner.account.pk, actor="test")

    erase(owner.account, "--yes")

    kept = IdempotencyKey.objects.values_list("key", "answer")
    assert {key for key, _ in kept} == {"open", "pay"}
    told = "".join(answer for _, answer in kept)
    assert owner.account.number not in told
    assert "A secret" not in told
    again = send(browser, "/api/transfers", "pay", {**paid, "amount": "5.00"})
    assert again["from_account"]["cash"] == "45"  # it is not paid twice


def send(client: Client, path: str, key: str, body: dict[str, Any]) -> Any:
    answer = client.post(path, body, "application/json", headers={"Idempotency-Key": key})
    assert answer.status_code == 200, answer.content
    return answer.json()


@pytest.mark.parametrize("calls", [0, 1, 2, 3])
def test_killed_on_the_way_it_is_begun_again(
    accounts: list[Account], monkeypatch: pytest.MonkeyPatch, calls: int
) -> None:
    monkeypatch.setattr(erasure, "SLICE", 3)
    blank, left = erasure._blank, iter(range(calls))

    def die(*args: int) -> None:
        if next(left, None) is None:
            raise KeyboardInterrupt
        blank(*args)

    with monkeypatch.context() as patched:
        patched.setattr(erasure, "_blank", die)
        with pytest.raises(KeyboardInterrupt):
            erase(accounts[0], "--yes")
    assert audit()[0] == 0
    chain_all()
    assert audit()[0] == 0

    erase(accounts[0], "--yes")
    assert {} not in payloads(accounts[1])
    assert all(payload == {} for payload in payloads(accounts[0]))
    chain_all()
    assert audit()[0] == 0


def test_an_audit_beside_an_erasure_finds_what_was_erased_not_altered(
    accounts: list[Account], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chain, "CHUNK", 3)
    walk = chain.Walk()
    steps = walk.steps()
    next(steps)
    erase(accounts[0], "--yes")
    for _ in steps:
        pass

    assert walk.broken is None
    assert (walk.sequence, walk.erased > 0) == (walk.head, True)


def test_an_audit_that_has_read_what_is_then_erased_looks_again(
    accounts: list[Account], monkeypatch: pytest.MonkeyPatch
) -> None:
    salts_of = chain.salts_of

    def erase_first(events: Iterable[Event]) -> dict[int | None, bytes]:
        monkeypatch.setattr(chain, "salts_of", salts_of)
        erase(accounts[0], "--yes")
        return salts_of(events)

    monkeypatch.setattr(chain, "salts_of", erase_first)
    assert chain.verify() is None


def test_what_is_erased_while_the_relay_has_it_is_proven_by_no_salt(
    accounts: list[Account], monkeypatch: pytest.MonkeyPatch
) -> None:
    account, atomic = accounts[0], transaction.atomic
    with atomic():
        told = record_one(account)

    def erase_first() -> Any:
        monkeypatch.setattr(relay, "transaction", transaction)
        erase(account, "--yes")
        return atomic()

    monkeypatch.setattr(relay, "transaction", SimpleNamespace(atomic=erase_first))
    chain_all()

    sealed = Event.objects.get(pk=told.pk)
    salt = bytes.fromhex(Salt.objects.get(account_id=account.pk).salt)
    assert (sealed.payload, sealed.digest is None) == ({}, False)
    assert sealed.digest != chain.digest(told, salt)
    assert audit()[0] == 0


def record_one(account: Account) -> Event:
    account.refresh_from_db()
    event = log.record("test.told", actor="test", account=account, payload={"cash": "100"})
    account.save(update_fields=["event_sequence"])
    return event


@pytest.mark.skipif("connection.vendor != 'mysql'", reason="SQLite has one writer at a time")
def test_the_salt_goes_when_the_relay_has_sealed_what_it_read(accounts: list[Account]) -> None:
    account = accounts[0]
    eraser = threading.Thread(target=_erase_elsewhere, args=[account], daemon=True)
    with transaction.atomic():  # as the relay holds it
        assert chain.lock_head() is not None
        eraser.start()
        eventually(lambda: _another_asks_for("events_chainhead"), "the other one")
        assert Salt.objects.filter(account_id=account.pk).exists()
    eraser.join(PATIENCE_SECONDS)

    assert not eraser.is_alive()
    assert not Salt.objects.filter(account_id=account.pk).exists()


def _erase_elsewhere(account: Account) -> None:
    try:
        erase(account, "--yes")
    finally:
        connection.close()


def _another_asks_for(table: str) -> bool:
    """Whether a statement of another connection is under way on the table."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT info FROM information_schema.processlist WHERE id <> CONNECTION_ID()"
        )
        return any(table in (statement or "") for (statement,) in cursor.fetchall())


def test_what_was_erased_cannot_be_altered_all_the_same(accounts: list[Account]) -> None:
    erase(accounts[0], "--yes")
    chain_all()
    event = Event.objects.filter(account_id=accounts[0].pk).order_by("pk")[2]
    Event.objects.filter(pk=event.pk).update(payload={"cash": "1"})
    code, said = audit()
    assert code != 0
    assert "another payload" in said


def test_a_payload_that_goes_without_a_word_is_an_alteration(accounts: list[Account]) -> None:
    event = Event.objects.filter(account_id=accounts[1].pk).order_by("pk")[2]
    Event.objects.filter(pk=event.pk).update(payload={})
    code, said = audit()
    assert code != 0
    assert "another payload" in said


def test_nothing_is_erased_without_a_yes_nor_of_an_open_account(accounts: list[Account]) -> None:
    before = [payloads(account) for account in accounts]
    with pytest.raises(CommandError, match="--yes"):
        erase(accounts[0])
    with pytest.raises(CommandError, match="close the account first"):
        erase(accounts[1], "--yes")
    with pytest.raises(CommandError, match="there is no account"):
        call_command("erase_payloads", "NOBODY", "--yes")
    assert [payloads(account) for account in accounts] == before
