"""Sockets that read slowly, or not at all: what they get, what they cost, how they end."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quotes.streaming import frames as frames_module
from quotes.streaming.codec import JSON, framed, unframed
from quotes.streaming.fanout import Fanout
from quotes.streaming.frames import SentFrames, hang_up
from quotes.streaming.socket import (
    HELD_BYTES_MAX,
    HIGH_WATER_BYTES,
    LOW_WATER_BYTES,
    STALLED_SECONDS_MAX,
    Notices,
    Socket,
)
from tests.streams import Wire, quote, trade
from tests.waiting import until

SLOW = JSON.control({"T": "error", "code": 407, "msg": "slow client"})
A_LOT = b"x" * (HIGH_WATER_BYTES + 1)


class Timed:
    """A socket on a wire that we drain, and a clock that we turn."""

    def __init__(self, room: int | None = 0) -> None:
        self.wire = Wire(room)
        self.now = 100.0
        self.closed_with: list[int] = []
        notices = Notices(SLOW, b"", b"", heartbeat=lambda *_: b"")
        self.socket = Socket(
            self.wire, JSON, notices, close=self.closed_with.append, now=lambda: self.now
        )

    def holding(self) -> Timed:
        """Make it hold, with more on the wire than it takes."""
        self.socket.say(framed(A_LOT, 0x82))
        assert self.socket.holding
        return self

    def catch_up(self) -> None:
        """Read everything, as often as it takes."""
        for _ in range(1_000):
            self.wire.drain(10**9)
            if self.socket.release():
                return
        pytest.fail("never caught up")

    @property
    def heard(self) -> list[dict[str, Any]]:
        frames = [payload for _, payload in unframed(self.wire.written)]
        return [message for each in frames if each[:1] == b"[" for message in json.loads(each)]


def test_a_slow_reader_gets_the_newest_quote_and_every_trade() -> None:
    slow = Timed().holding()

    for n in range(1, 101):
        slow.socket.hold(JSON.quote(quote(n=n)), "AAPL")
        slow.socket.hold(JSON.trade(trade(n=n)))
    slow.catch_up()

    assert [one["t"][-4:-1] for one in slow.heard if one["T"] == "q"] == ["100"]
    assert [one["i"] & 0xFFFF for one in slow.heard if one["T"] == "t"] == list(range(1, 101))
    assert slow.closed_with == []


def test_a_quote_never_overtakes_or_trails_the_trades_around_it() -> None:
    slow = Timed().holding()

    slow.socket.hold(JSON.quote(quote(n=1)), "AAPL")
    slow.socket.hold(JSON.trade(trade(n=2)))
    slow.socket.hold(JSON.quote(quote(n=3)), "AAPL")
    slow.socket.hold(JSON.trade(trade(n=4)))
    slow.catch_up()

    assert [one["t"][-2:-1] for one in slow.heard] == ["2", "3", "4"]


def test_answers_wait_their_turn_behind_held_data() -> None:
    slow = Timed().holding()

    slow.socket.hold(JSON.trade(trade()))
    slow.socket.say(JSON.control({"T": "subscription"}))
    slow.catch_up()

    assert [one["T"] for one in slow.heard] == ["t", "subscription"]


def test_begun_frames_are_never_replaced() -> None:
    slow = Timed(room=10)

    slow.socket.line.parts.append(JSON.quote(quote(n=1)))
    slow.socket.flush()
    slow.holding()
    slow.socket.hold(JSON.quote(quote(n=2)), "AAPL")
    slow.catch_up()

    assert [one["t"][-2:-1] for one in slow.heard] == ["1", "2"]


def test_too_many_trades_end_with_slow_client() -> None:
    slow = Timed().holding()
    frame = JSON.trade(trade())
    held = 0

    while not slow.closed_with:
        slow.socket.hold(frame)
        held += len(frame)
        assert held <= HELD_BYTES_MAX + len(frame)

    slow.wire.drain(10**9)
    assert slow.closed_with == [4407]
    assert slow.heard == [{"T": "error", "code": 407, "msg": "slow client"}]


def test_a_dropped_socket_takes_and_says_nothing_more() -> None:
    slow = Timed().holding()
    slow.socket.drop()
    waiting = slow.wire.backlog()

    slow.socket.say(JSON.control({"T": "late"}))
    slow.socket.hold(JSON.quote(quote()), "AAPL")
    slow.socket.drop()
    slow.socket.close(4000)

    assert slow.wire.backlog() == waiting
    assert slow.closed_with == [4407]


def test_a_reader_of_quotes_alone_is_dropped_only_when_it_takes_nothing() -> None:
    slow = Timed().holding()

    for _ in range(3):
        slow.now += STALLED_SECONDS_MAX - 1
        slow.wire.drain(100)
        assert not slow.socket.release()
    assert slow.closed_with == []

    slow.now += STALLED_SECONDS_MAX + 1
    assert slow.socket.release()
    assert slow.closed_with == [4407]


def test_held_frames_leave_in_portions_so_that_quotes_stay_fresh() -> None:
    slow = Timed().holding()
    for n in range(2_000):
        slow.socket.hold(JSON.quote(quote(f"S{n}", n=1)), f"S{n}")

    slow.wire.drain(len(A_LOT) + 20 - LOW_WATER_BYTES)
    slow.socket.release()

    assert slow.wire.backlog() <= HIGH_WATER_BYTES + 1_000
    assert slow.socket.holding


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("quote"), st.sampled_from("ABC"), st.integers(1, 40)),
            st.tuples(st.just("trade"), st.sampled_from("ABC"), st.integers(1, 40)),
            st.tuples(st.just("read"), st.just(""), st.integers(0, 200_000)),
        ),
        max_size=60,
    )
)
def test_any_reader_ends_with_all_trades_and_the_newest_quotes(
    steps: list[tuple[str, str, int]],
) -> None:
    reader = Timed(room=0)
    numbers = dict.fromkeys([(kind, name) for kind in "qt" for name in "ABC"], 0)
    bulk = framed(b"-" * 4_000, 0x82)
    for action, name, count in steps:
        if action == "read":
            reader.wire.drain(count)
            reader.socket.release() if reader.socket.holding else None
            continue
        for _ in range(count):
            kind = action[0]
            numbers[kind, name] += 1
            tick = (quote if kind == "q" else trade)(name, n=numbers[kind, name])
            frame = JSON.quote(tick) if kind == "q" else JSON.trade(tick)
            key = name if kind == "q" else None
            if reader.socket.holding:
                reader.socket.hold(frame, key)
            else:
                reader.socket.line.parts += [frame, bulk]
                reader.socket.flush()
    reader.catch_up()

    assert reader.closed_with == []
    for kind, name in numbers:
        heard = [
            int(one["t"][-7:-1]) for one in reader.heard if (one["T"], one["S"]) == (kind, name)
        ]
        if kind == "t":
            assert heard == list(range(1, numbers[kind, name] + 1))
        else:
            assert heard == sorted(set(heard))
            assert heard[-1:] == ([numbers[kind, name]] if numbers[kind, name] else [])
    assert reader.socket.sent == len(list(unframed(reader.wire.written)))


def test_memory_of_a_stalled_reader_of_quotes_stays_flat() -> None:
    slow = Timed().holding()

    for n in range(20_000):
        slow.socket.hold(JSON.quote(quote(f"S{n % 50}", n=n)), f"S{n % 50}")

    assert len(slow.socket._held) == 50
    assert slow.closed_with == []


async def test_the_fanout_releases_a_reader_that_reads_again() -> None:
    slow, fanout = Timed().holding(), Fanout()
    fanout.say(slow.socket, JSON.trade(trade()))

    slow.wire.drain(10**9)
    await until(lambda: not slow.socket.holding)

    assert [one["T"] for one in slow.heard] == ["t"]
    await until(lambda: fanout._releasing is None)


# --- without the server's extension -------------------------------------------------------------


async def test_plain_send_gets_one_message_per_frame_in_order() -> None:
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    frames = SentFrames(send)
    frames.write(framed(b"one", 0x81) + framed(b"two", 0x82))
    frames.write(framed(b"", 0x81))
    await until(lambda: frames.backlog() == 0)

    assert sent == [
        {"type": "websocket.send", "text": "one"},
        {"type": "websocket.send", "bytes": b"two"},
        {"type": "websocket.send", "text": ""},
    ]
    frames.abort()


async def test_a_send_that_hangs_counts_as_backlog_and_is_dropped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(frames_module, "CLOSING_SECONDS_MAX", 0.1)
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "websocket.send":
            await asyncio.Event().wait()
        sent.append(message)

    frames = SentFrames(send)
    frames.write(framed(b"never read", 0x81))
    await hang_up(frames, send, 4407)

    assert sent == [{"type": "websocket.close", "code": 4407}]
    assert frames._sending.cancelled() or frames._sending.cancelling()


async def test_a_send_that_fails_ends_the_sending_quietly() -> None:
    async def send(message: dict[str, Any]) -> None:
        raise OSError("the client has gone")

    frames = SentFrames(send)
    frames.write(framed(b"one", 0x81))
    await until(frames._sending.done)
    frames.write(framed(b"two", 0x81))

    assert frames.backlog() > 0
    assert frames._sending.exception() is None


async def test_closing_waits_until_the_last_words_have_left() -> None:
    looks: list[int] = []

    class Watched(Wire):
        def backlog(self) -> int:
            looks.append(super().backlog())
            return looks[-1]

    wire, order = Watched(0), []
    wire.write(SLOW)

    async def send(message: dict[str, Any]) -> None:
        order.append((message["type"], len(wire.waiting)))

    closing = asyncio.create_task(hang_up(wire, send, 4407))
    await until(lambda: len(looks) >= 3)
    assert order == []
    wire.drain(10**9)
    await closing

    assert order == [("websocket.close", 0)]
    assert not wire.aborted


async def test_closing_a_reader_that_takes_nothing_aborts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames_module, "CLOSING_SECONDS_MAX", 0.1)
    wire = Wire(0)
    wire.write(SLOW)

    async def send(message: dict[str, Any]) -> None:
        raise OSError("gone")

    await hang_up(wire, send, 4407)

    assert wire.aborted
