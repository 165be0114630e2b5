"""The audit: whatever is done to the log behind the relay's back, the first bad event is named."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import prometheus_client
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from django.core.management import CommandError, call_command
from django.db import transaction
from django.db.models import F

from events import chain, log, relay, signing
from events.leases import acquire
from events.models import ChainHead, Event, Salt
from events.signing import Signer, read_signatures

pytestmark = pytest.mark.django_db(transaction=True)

EVENTS = 30
SIGNED_AT = (10, 20)


@dataclass
class Account:
    pk: int
    event_sequence: int = 0


@pytest.fixture
def folder(settings: Any, tmp_path: Path) -> Path:
    settings.AUDIT_HOME = tmp_path / "audit"
    return settings.AUDIT_HOME


@pytest.fixture
def account() -> Account:
    return Account(1)


@pytest.fixture
def written(folder: Path, account: Account) -> list[Event]:
    """Thirty events, chained, the first twenty of them signed for."""
    ChainHead.objects.create(pk=ChainHead.ONLY, sequence=0, hash=chain.GENESIS)
    signer = Signer(folder)
    for _ in range(EVENTS // 10):
        write(10, account)
        chain_all()
        if ChainHead.objects.get().sequence in SIGNED_AT:
            signer.sign()
    return list(Event.objects.order_by("sequence"))


@transaction.atomic
def write(count: int, account: Account | None = None) -> None:
    for n in range(count):
        log.record("test.happened", actor="test", account=account, payload={"n": n})


def chain_all() -> None:
    lease = acquire(relay.LEASE_NAME, "test")
    assert lease is not None
    while relay.sequence(lease, relay.unchained(relay.BATCH)):
        pass
    lease.release()


def audit(**options: Any) -> tuple[int, str]:
    """What the command says, and its exit code."""
    said = io.StringIO()
    try:
        call_command("verify_audit", stdout=said, stderr=io.StringIO(), **options)
    except CommandError as error:
        return error.returncode, said.getvalue() + str(error)
    return 0, said.getvalue()


def test_a_log_that_nobody_touched(written: list[Event]) -> None:
    write(2)
    code, said = audit()
    assert code == 0
    assert "30 events are as they were chained" in said
    assert "20 of them are signed for" in said
    assert "2 events are not chained yet" in said


def forge(event: Event, **changes: Any) -> None:
    """Change an event and chain it and all after it anew, as one may who can write everything."""
    Event.objects.filter(pk=event.pk).update(**changes)
    before = chain.GENESIS
    for one in Event.objects.order_by("sequence"):
        salt = chain.salts_of([one])[one.account_id]
        before = chain.seal(one, sequence=one.sequence or 0, before=before, salt=salt)
        one.save()
    ChainHead.objects.update(hash=before)


def swap(one: Event, other: Event) -> None:
    Event.objects.filter(pk=one.pk).update(sequence=-1)
    Event.objects.filter(pk=other.pk).update(sequence=one.sequence)
    Event.objects.filter(pk=one.pk).update(sequence=other.sequence)


def insert(before: Event) -> None:
    """Between two others, which are moved up."""
    for event in Event.objects.filter(sequence__gte=before.sequence).order_by("-sequence"):
        Event.objects.filter(pk=event.pk).update(sequence=F("sequence") + 1)
    copy = Event.objects.get(pk=before.pk)
    copy.pk, copy.account_sequence, copy.sequence = None, 1_000, before.sequence
    copy.save(force_insert=True)
    ChainHead.objects.update(sequence=F("sequence") + 1)


def append(event: Event) -> None:
    """Behind the end, as if it had been chained."""
    copy = Event.objects.get(pk=event.pk)
    copy.pk, copy.account_sequence, copy.sequence = None, 1_000, EVENTS + 1
    copy.save(force_insert=True)


def prepend(event: Event, sequence: int) -> None:
    """Before the first, which nobody counts."""
    copy = Event.objects.get(pk=event.pk)
    copy.pk, copy.account_sequence, copy.sequence = None, 1_000, sequence
    copy.save(force_insert=True)


def cut(left: int) -> None:
    """Take the end off, and have the head agree."""
    Event.objects.filter(sequence__gt=left).delete()
    last = Event.objects.get(sequence=left)
    ChainHead.objects.update(sequence=left, hash=last.hash)


TAMPERING: list[tuple[str, Callable[[list[Event]], object], int | None, str]] = [
    ("payload altered", lambda e: update(e[6], payload={"n": 99}), 7, "another payload"),
    ("payload emptied", lambda e: update(e[6], payload={}), 7, "another payload"),
    ("header altered", lambda e: update(e[6], actor="user:7"), 7, "another header"),
    ("time altered", lambda e: update(e[6], recorded_at=e[5].recorded_at), 7, "another header"),
    ("deleted", lambda e: e[6].delete(), 7, "is missing"),
    ("deleted at the end", lambda e: e[29].delete(), 30, "is missing"),
    ("inserted", lambda e: insert(e[6]), 7, "another header"),
    ("appended", lambda e: append(e[6]), 31, "behind the head"),
    ("put before the first", lambda e: prepend(e[6], 0), 0, "before the first"),
    ("numbered backwards", lambda e: prepend(e[6], -7), -7, "before the first"),
    ("reordered", lambda e: swap(e[6], e[8]), 7, "another header"),
    ("cut off after what is signed", lambda e: cut(20), None, ""),
    ("cut off before what is signed", lambda e: cut(15), 16, "signed up to 20"),
    ("all of it removed", lambda e: cut_all(), 1, "signed up to 10"),
    ("chained anew", lambda e: forge(e[12], payload={"n": 99}), 20, "written anew after 10"),
    ("salt gone", lambda e: Salt.objects.all().delete(), 1, "another payload"),
]


def update(event: Event, **changes: Any) -> None:
    Event.objects.filter(pk=event.pk).update(**changes)


def cut_all() -> None:
    Event.objects.all().delete()
    ChainHead.objects.update(sequence=0, hash=chain.GENESIS)


@pytest.mark.parametrize(
    ("tamper", "sequence", "problem"),
    [case[1:] for case in TAMPERING],
    ids=[case[0] for case in TAMPERING],
)
def test_the_first_bad_event_is_named(
    written: list[Event],
    tamper: Callable[[list[Event]], object],
    sequence: int | None,
    problem: str,
) -> None:
    tamper(written)
    code, said = audit()
    if sequence is None:  # nothing outside the database knows of those events
        assert code == 0
        return
    assert code == 1
    assert f"BROKEN: event {sequence} " in said
    assert problem in said


def test_what_was_erased_is_told_apart_from_what_was_altered(
    written: list[Event], account: Account
) -> None:
    with transaction.atomic():
        log.record(chain.ERASED, actor="operator:1", account=account)
        Event.objects.filter(account_sequence__lt=account.event_sequence).update(payload={})
        Salt.objects.filter(account_id=account.pk).delete()
    chain_all()
    write(1, account)
    chain_all()
    code, said = audit()
    assert code == 0
    assert "32 events are as they were chained, 30 of them erased" in said

    update(written[6], actor="user:7")
    assert "event 7 " in audit()[1]
    update(written[6], actor="test")
    update(written[6], payload={"n": 1})  # something was put where there was nothing
    assert "event 7 " in audit()[1]


def test_without_signatures_the_end_is_not_proven(written: list[Event], tmp_path: Path) -> None:
    code, said = audit(signatures=tmp_path / "nowhere")
    assert code == 2
    assert "30 events are as they were chained" in said
    assert "no signature" in said


# --- signatures ---------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["sequence", "hash", "at", "signature", "key"])
def test_a_signature_that_was_altered_vouches_for_nothing(
    written: list[Event], folder: Path, what: str
) -> None:
    file = folder / "signatures.jsonl"
    lines = file.read_text().splitlines()
    said = json.loads(lines[0])
    said[what] = {"sequence": 11, "hash": "f" * 64, "at": "2020-01-01"}.get(what, "AAAA")
    file.write_text("\n".join([json.dumps(said), *lines[1:]]) + "\n")
    code, said_by = audit()
    assert code == 1
    assert "line 1 of" in said_by


@pytest.mark.parametrize("line", ["", "{", "[]", "null", '{"sequence": "x"}'])
def test_a_line_that_is_no_signature_is_named(
    written: list[Event], folder: Path, line: str
) -> None:
    with (folder / "signatures.jsonl").open("a") as file:
        file.write(line + "\n")
    assert audit()[0] == 1


def test_signatures_in_another_order_are_not_the_relays(written: list[Event], folder: Path) -> None:
    file = folder / "signatures.jsonl"
    first, second = file.read_text().splitlines()
    for lines in ([second, first], [first, first, second]):
        file.write_text("\n".join(lines) + "\n")
        assert audit()[0] == 1


def test_signatures_by_another_key_are_not_trusted(written: list[Event], folder: Path) -> None:
    (folder / "signing-key.pem").unlink()
    for public in folder.glob("public-*.pem"):
        public.unlink()
    write(1)
    chain_all()
    Signer(folder).sign()  # with a new key, which vouches for what it has signed itself
    assert audit()[0] == 1


def test_a_new_key_stands_beside_the_old_one(written: list[Event], folder: Path) -> None:
    (folder / "signing-key.pem").unlink()
    write(1)
    chain_all()
    Signer(folder).sign()
    assert len(list(folder.glob("public-*.pem"))) == 2
    assert [one.sequence for one in read_signatures(folder)] == [10, 20, 31]
    assert audit()[0] == 0


def test_the_private_key_is_for_its_owner_only(written: list[Event], folder: Path) -> None:
    assert (folder / "signing-key.pem").stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700
    assert not any(".pem." in name for name in os.listdir(folder))


def test_a_line_that_was_not_written_to_its_end_gives_way(
    written: list[Event], folder: Path
) -> None:
    file = folder / "signatures.jsonl"
    with file.open("a") as signatures:
        signatures.write('{"sequence": 25, "ha')
    assert audit()[0] == 0
    Signer(folder).sign()
    assert [one.sequence for one in read_signatures(folder)] == [10, 20, 30]


def test_nothing_is_signed_twice_nor_backwards(
    written: list[Event], folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        Signer(folder).sign()
    assert [one.sequence for one in read_signatures(folder)] == [10, 20, 30]
    cut(15)
    Signer(folder).sign()
    assert [one.sequence for one in read_signatures(folder)] == [10, 20, 30]
    assert "ends at 15, and was signed up to 30" in caplog.text


def test_it_signs_after_so_many_events_or_so_long(
    written: list[Event], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    signer = Signer(folder)
    signer.sign_if_due(0)  # whatever a former owner left
    assert last_signed(folder) == 30
    write(2)
    chain_all()
    signer.sign_if_due(2)
    assert last_signed(folder) == 30
    signer.sign_if_due(signing.SIGN_EVENTS)
    assert last_signed(folder) == 32
    monkeypatch.setattr(signing, "SIGN_SECONDS", 0.0)
    write(1)
    chain_all()
    signer.sign_if_due(0)  # nothing that it knows of
    assert last_signed(folder) == 32
    signer.sign_if_due(1)
    assert last_signed(folder) == 33


def last_signed(folder: Path) -> int:
    return [one.sequence for one in read_signatures(folder)][-1]


NO_SIGNATURES = ["", "{", "[]", "null", '{"sequence": "x"}', '{"sequence": 1e999}']


@pytest.mark.parametrize("line", NO_SIGNATURES)
def test_a_line_that_is_no_signature_stops_nobody_and_is_signed_after_its_repair(
    written: list[Event],
    folder: Path,
    line: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    file, signer = folder / "signatures.jsonl", Signer(folder)
    good = file.read_text()
    file.write_text(good + line + "\n")
    signer.sign_if_due(0)
    assert f"not signed: the last line of {file}" in caplog.text
    assert file.read_text() == good + line + "\n"

    file.write_text(good)
    signer.sign_if_due(0)
    assert last_signed(folder) == 20, "not before SIGN_SECONDS are over"
    monkeypatch.setattr(signing, "SIGN_SECONDS", 0.0)
    signer.sign_if_due(0)
    assert last_signed(folder) == 30


RSA = rsa.generate_private_key(public_exponent=65537, key_size=1024)


@pytest.mark.parametrize("pem", [b"", b"-----BEGIN", signing._private_pem(RSA)])  # type: ignore[arg-type]
def test_a_key_that_cannot_be_read_stops_nobody(
    written: list[Event], folder: Path, pem: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    file = folder / "signing-key.pem"
    file.write_bytes(pem)
    Signer(folder).sign()
    assert f"not signed: {file} holds" in caplog.text
    assert audit()[0] == 0

    (folder / "public-ffff.pem").write_bytes(pem)
    code, said = audit()
    assert code == 1
    assert "public-ffff.pem holds no key that can be read" in said


def test_a_disk_that_cannot_be_written_stops_nobody(
    written: list[Event], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    Signer(tmp_path / "file" / "audit").sign()
    assert "the event log is not signed" in caplog.text


def test_metrics_say_what_is_not_signed_for(written: list[Event], folder: Path) -> None:
    """Thirty events are chained and signed; then the folder takes no signature any more."""
    signer, failed = Signer(folder), told("signatures_failed_total")
    signer.sign()
    assert (told("events_signed"), told("events_unsigned")) == (30, 0)

    (folder / "signatures.jsonl").rename(folder / "moved")
    (folder / "signatures.jsonl").mkdir()
    write(4)
    chain_all()
    signer.sign_if_due(4)
    signer.sign()
    assert (told("events_signed"), told("events_unsigned")) == (30, 4)
    assert told("signatures_failed_total") == failed + 1

    (folder / "signatures.jsonl").rmdir()
    (folder / "moved").rename(folder / "signatures.jsonl")
    (folder / "signing-key.pem").write_bytes(b"")
    for gauge in (signing.SIGNED, signing.UNSIGNED):
        gauge.set(0)
    Signer(folder).sign()  # of a process that begins now
    assert (told("events_signed"), told("events_unsigned")) == (30, 4)


def told(name: str) -> float:
    return prometheus_client.REGISTRY.get_sample_value(f"openbell_{name}") or 0.0
