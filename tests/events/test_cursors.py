"""Consumers of the log: every event in order, at least once, whatever happens to them."""

from __future__ import annotations

import io
import json
import threading
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import transaction

from events import chain, cursors, log, relay
from events.cursors import CursorMoved, consume, consume_once
from events.leases import acquire
from events.models import ChainHead, Cursor, Event

pytestmark = pytest.mark.django_db(transaction=True)

NAME = "test"


@pytest.fixture(autouse=True)
def head() -> None:
    ChainHead.objects.create(pk=ChainHead.ONLY, sequence=0, hash=chain.GENESIS)


def write(count: int) -> None:
    with transaction.atomic():
        for n in range(count):
            log.record("test.happened", actor="test", payload={"n": n})
    lease = acquire(relay.LEASE_NAME, "test")
    assert lease is not None
    while relay.sequence(lease, relay.unchained(relay.BATCH)):
        pass
    lease.release()


class Reader:
    """A consumer that remembers what it was given."""

    def __init__(self) -> None:
        self.batches: list[list[int | None]] = []

    def __call__(self, events: list[Event]) -> None:
        self.batches.append([event.sequence for event in events])

    @property
    def sequences(self) -> list[int | None]:
        return [sequence for batch in self.batches for sequence in batch]


def test_a_consumer_reads_all_in_order_in_batches_and_then_what_is_new() -> None:
    write(25)
    reader = Reader()
    while consume_once(NAME, reader, batch=10):
        pass
    assert [len(batch) for batch in reader.batches] == [10, 10, 5]
    write(2)
    assert consume_once(NAME, reader) == 2
    assert reader.sequences == [*range(1, 28)]
    assert Cursor.objects.get(name=NAME).sequence == 27


def test_consumers_do_not_know_of_each_other() -> None:
    write(3)
    one, other = Reader(), Reader()
    consume_once("one", one, batch=2)
    consume_once("other", other)
    assert (one.sequences, other.sequences) == ([1, 2], [1, 2, 3])


def test_what_is_not_chained_yet_waits() -> None:
    with transaction.atomic():
        log.record("test.happened", actor="test")
    assert consume_once(NAME, Reader()) == 0


def test_a_batch_that_fails_is_handed_over_again() -> None:
    write(3)

    def fail(_: list[Event]) -> None:
        raise ConnectionError

    with pytest.raises(ConnectionError):
        consume_once(NAME, fail)
    reader = Reader()
    consume_once(NAME, reader)
    assert reader.sequences == [1, 2, 3]


def test_two_of_one_name_notice_it() -> None:
    write(3)

    def another(_: list[Event]) -> None:
        consume_once(NAME, Reader(), batch=1)

    with pytest.raises(CursorMoved):
        consume_once(NAME, another)
    assert cursors.position(NAME) == 1


def test_a_consumer_runs_until_told() -> None:
    write(3)
    stop, reader = threading.Event(), Reader()

    def read(events: list[Event]) -> None:
        reader(events)
        if len(reader.sequences) == 3:
            write(1)
        else:
            stop.set()

    consume(NAME, read, stop)
    assert reader.sequences == [1, 2, 3, 4]


def export(*arguments: str, **options: Any) -> list[dict[str, Any]]:
    said = io.StringIO()
    call_command("export_events", *arguments, stdout=said, **options)
    return [json.loads(line) for line in said.getvalue().splitlines()]


def test_the_log_is_exported_from_where_it_was_left() -> None:
    write(3)
    first = export(NAME)
    assert [event["sequence"] for event in first] == [1, 2, 3]
    assert first[0]["payload"] == {"n": 0}
    assert {"kind", "actor", "subject", "account_id", "hash", "recorded_at"} <= first[0].keys()
    assert export(NAME) == []
    write(1)
    assert [event["sequence"] for event in export(NAME)] == [4]
    assert [event["sequence"] for event in export(NAME, after=2)] == [3, 4]


def test_an_export_beside_another_of_its_name_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    write(1)
    truth = cursors._move

    def too_late(name: str, reached: int, to: int) -> None:
        truth(name, reached, to)
        truth(name, reached, to)

    monkeypatch.setattr(cursors, "_move", too_late)
    with pytest.raises(CommandError, match="another process"):
        export(NAME)
