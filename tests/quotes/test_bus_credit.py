"""A publisher's account of readers it cannot see, with time passed in; and messages as bytes."""

from __future__ import annotations

import msgpack
import pytest

from quotes.streaming.bus.credit import LEARN_SECONDS, SILENT_SECONDS, Credit, Report
from quotes.streaming.bus.wire import pack, unpack

TOPIC = "ticks:0"


class Now:
    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def now() -> Now:
    return Now()


@pytest.fixture
def credit(now: Now) -> Credit:
    """A publisher that has had the time to learn who reads."""
    credit = Credit("me", now)
    credit.watch([TOPIC])
    now.seconds += LEARN_SECONDS + 0.01
    return credit


def report(reader: str = "r", publisher: str = "", taken: int = 0, limit: int = 2) -> Report:
    return Report(TOPIC, reader, publisher, taken, limit)


def send(credit: Credit, count: int) -> None:
    for _ in range(count):
        credit.count(TOPIC)


def test_publisher_first_learns_who_reads(now: Now) -> None:
    credit = Credit("me", now)
    assert credit.watch([TOPIC]) == [TOPIC]
    assert credit.watch([TOPIC]) == []
    assert not credit.has_room(TOPIC)
    now.seconds += LEARN_SECONDS + 0.01
    assert credit.has_room(TOPIC)


def test_room_ends_with_the_limit_and_comes_back_with_the_report(credit: Credit) -> None:
    credit.note(report())
    send(credit, 2)
    assert not credit.has_room(TOPIC)
    credit.note(report())
    assert not credit.has_room(TOPIC), "it has still heard nothing of us"
    credit.note(report(publisher="me", taken=1))
    assert credit.has_room(TOPIC)


def test_slowest_reader_counts(credit: Credit) -> None:
    credit.note(report("fast"))
    credit.note(report("slow"))
    send(credit, 2)
    credit.note(report("fast", "me", 2))
    assert not credit.has_room(TOPIC)


def test_silent_reader_is_forgotten(credit: Credit, now: Now) -> None:
    credit.note(report())
    send(credit, 5)
    now.seconds += SILENT_SECONDS + 0.01
    assert credit.has_room(TOPIC)


def test_new_reader_starts_from_what_is_being_sent(credit: Credit) -> None:
    send(credit, 1000)
    credit.note(report("late", publisher="a former publisher", taken=7))
    assert credit.has_room(TOPIC)


def test_topics_nobody_asks_room_on_are_not_counted(credit: Credit) -> None:
    assert [credit.count("account:1"), credit.count("account:1")] == [0, 0]
    assert credit.count(TOPIC) == 1


@pytest.mark.parametrize(
    "data", [b"", b"\xc1", msgpack.packb(7), msgpack.packb(("me", 1, 9, b"")), b"plain text"]
)
def test_bytes_that_are_no_message_are_an_error(data: bytes) -> None:
    with pytest.raises(ValueError, match="not a message"):
        unpack(data)


def test_plain_message_survives() -> None:
    message = {"kind": "halt", "numbers": [1, 2.5, None, True], "deep": {"a": ["b"]}}
    assert unpack(pack("me", 3, message)) == ("me", 3, message)
