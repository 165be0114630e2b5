"""The relay: a gap-free order over all events, a chain that names who broke it, one owner."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
from django.db import connection, transaction
from django.db.models import F
from django.test.utils import CaptureQueriesContext

from events import chain, leases, log, relay
from events.leases import Lease, LeaseLost, acquire
from events.models import ChainHead, Event, Salt
from events.relay import run_relay, sequence, unchained
from tests.waiting import PATIENCE_SECONDS, eventually

pytestmark = pytest.mark.django_db(transaction=True)

mysql_only = pytest.mark.skipif("connection.vendor != 'mysql'", reason="asks MySQL for its plan")


@dataclass
class Account:
    pk: int
    event_sequence: int = 0


@transaction.atomic
def write(count: int, account: Account | None = None) -> list[Event]:
    return [
        log.record("test.happened", actor="test", account=account, payload={"n": n, "é": "ü"})
        for n in range(count)
    ]


@pytest.fixture
def lease() -> Lease:
    ChainHead.objects.create(pk=ChainHead.ONLY, sequence=0, hash=chain.GENESIS)
    owned = acquire(relay.LEASE_NAME)
    assert owned is not None
    return owned


def sequence_batch(lease: Lease) -> int:
    return sequence(lease, unchained(relay.BATCH))


def chain_all(lease: Lease) -> None:
    while sequence_batch(lease):
        pass


def test_numbers_are_gap_free_and_causal_within_an_account(lease: Lease) -> None:
    one, other = Account(1), Account(2)
    for count in (3, 150, 2):
        write(count, one)
        write(count, other)
        write(1)
    chain_all(lease)

    events = list(Event.objects.order_by("sequence"))
    assert [event.sequence for event in events] == list(range(1, 2 * 155 + 3 + 1))
    for account in (one, other):
        numbers = [event.account_sequence for event in events if event.account_id == account.pk]
        assert numbers == list(range(1, 156))
    assert chain.verify() is None


def test_a_batch_is_bounded_and_costs_the_same_statements(lease: Lease) -> None:
    write(3 * relay.BATCH, Account(1))
    sequence_batch(lease)
    with CaptureQueriesContext(
        connection,
    ) as queries:
        assert sequence_batch(lease) == relay.BATCH
    statements = [query["sql"] for query in queries if "SAVEPOINT" not in query["sql"]]
    assert len(statements) <= 10
    assert Event.objects.filter(sequence=None).count() == relay.BATCH


def test_looking_for_news_takes_no_lock(lease: Lease) -> None:
    write(3, Account(1))
    with CaptureQueriesContext(connection) as queries:
        assert len(unchained(relay.AHEAD)) == 3
    assert len(queries) == 1
    assert "UPDATE" not in queries[0]["sql"]


def test_what_another_has_chained_meanwhile_stays_as_it_is(lease: Lease) -> None:
    write(5, Account(1))
    seen = unchained(relay.AHEAD)
    assert sequence(lease, seen[:2]) == 2
    assert sequence(lease, seen) == 3
    assert chain.verify() is None


@mysql_only
def test_a_look_reads_what_waits_and_never_what_is_chained() -> None:
    """By what the server counted, with statistics of a table in which much waits, and none does."""
    insert(6_000, first=1)
    insert(2_000)
    for _ in range(2):
        before = rows_read()
        assert len(unchained(relay.BATCH)) == relay.BATCH
        assert rows_read() - before <= 2_000 + 1
        assert "sequence" in plan()
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE TABLE events_event")
            cursor.fetchall()

    Event.objects.filter(sequence=None).update(sequence=F("id") + 1_000_000)
    before = rows_read()
    assert unchained(relay.AHEAD) == []
    assert rows_read() - before <= 1


def insert(count: int, first: int | None = None) -> None:
    """Events as they are once chained, numbered from `first` on; with none, as they are before."""
    now = datetime.now(UTC)
    Event.objects.bulk_create(
        [
            Event(
                kind="test.happened",
                actor="test",
                recorded_at=now,
                sequence=None if first is None else first + n,
            )
            for n in range(count)
        ],
        batch_size=1_000,
    )


def rows_read() -> int:
    """How many rows and index entries this connection has read so far."""
    with connection.cursor() as cursor:
        cursor.execute("SHOW SESSION STATUS LIKE 'Handler_read%%'")
        return sum(int(value) for _, value in cursor.fetchall())


def plan() -> str:
    """Which index a look goes by."""
    with CaptureQueriesContext(connection) as queries:
        unchained(relay.BATCH)
    with connection.cursor() as cursor:
        cursor.execute("EXPLAIN " + queries[0]["sql"])
        names = [column[0] for column in cursor.description]
        return str(dict(zip(names, cursor.fetchone(), strict=True))["key"])


def test_an_event_committed_late_gets_a_later_number(lease: Lease) -> None:
    """Ids are given at the insert, so a lower id may be seen after a higher one."""
    early, late = write(2)
    Event.objects.filter(pk=early.pk).update(sequence=-1)  # stands for: not committed yet
    chain_all(lease)
    Event.objects.filter(pk=early.pk).update(sequence=None)
    chain_all(lease)

    late.refresh_from_db()
    early.refresh_from_db()
    assert (late.sequence, early.sequence) == (1, 2)
    assert chain.verify() is None


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"payload": {"n": 1_000_000}}, "another payload"),
        ({"actor": "user:7"}, "another header"),
        ({"account_id": 2}, "another payload"),  # digested with the other account's salt
        ({"recorded_at": "2020-01-01T00:00:00Z"}, "another header"),
        ({"hash": "f" * 64}, "another header"),
        ({"digest": "f" * 64}, "another payload"),
    ],
)
def test_a_tampered_event_is_named(lease: Lease, change: dict, problem: str) -> None:
    events = write(20, Account(1))
    chain_all(lease)
    assert chain.verify() is None

    Event.objects.filter(pk=events[6].pk).update(**change)

    broken = chain.verify()
    assert broken is not None
    assert (broken.sequence, broken.event_id) == (7, events[6].pk)
    assert problem in broken.problem


@pytest.mark.parametrize("at", [0, 6, 19])
def test_a_removed_event_is_named(lease: Lease, at: int) -> None:
    events = write(20, Account(1))
    chain_all(lease)
    events[at].delete()

    assert chain.verify() == (at + 1, None, "is missing")


def test_payloads_of_two_accounts_have_no_digest_in_common(lease: Lease) -> None:
    write(1, Account(1))
    write(1, Account(2))
    chain_all(lease)

    assert len(set(Event.objects.values_list("digest", flat=True))) == 2
    assert Salt.objects.count() == 2


def test_a_former_owner_numbers_nothing(lease: Lease) -> None:
    write(5)
    lease.release()
    new = acquire(relay.LEASE_NAME, "somebody else")
    assert new is not None

    with pytest.raises(LeaseLost):
        sequence_batch(lease)
    assert not Event.objects.exclude(sequence=None).exists()
    chain_all(new)
    assert chain.verify() is None


def test_the_process_chains_what_is_written_while_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "EXPIRE_SECONDS", 600.0)
    stop = threading.Event()
    thread = threading.Thread(target=run_relay, args=(stop,), daemon=True)
    thread.start()
    try:
        for _ in range(3):
            write(40, Account(1 + Event.objects.count()))
        eventually(lambda: not Event.objects.filter(sequence=None).exists(), "the relay to chain")
    finally:
        stop.set()
        thread.join(PATIENCE_SECONDS)
    assert not thread.is_alive()
    assert chain.verify() is None
    assert acquire(relay.LEASE_NAME) is not None  # let go at the end, not run out
