"""The heartbeats of a hub: who is told, when, and what they claim."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable

import pytest

from quotes.streaming import heart, turns
from quotes.streaming import hub as hub_module
from quotes.streaming.bus import BARS, bus
from quotes.streaming.codec import JSON_HONEST, JSON_IN_BINARY
from quotes.streaming.hub import Hub
from quotes.streaming.socket import Socket
from quotes.ticks import Quote, Trade
from tests.quotes.hub_readers import TICKS, Reader, settled
from tests.streams import OPENING_US, bar, batch, quote, trade
from tests.waiting import until


@pytest.fixture
def only_greetings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Heartbeats for newcomers, a hundred a second, and none for all."""
    monkeypatch.setattr(heart, "HEARTBEAT_SECONDS", 1_000)
    monkeypatch.setattr(heart, "GREETINGS", 100_000)


async def test_heartbeat_says_what_was_sent_and_what_changed(hub: Hub) -> None:
    reader = Reader(hub, JSON_HONEST).want(quotes=["AAPL"], trades=["AAPL"])
    plain = Reader(hub).want(quotes=["AAPL"])
    bus().publish(TICKS, batch(quote(n=1), quote(n=2), trade(n=1), quote("IBM", n=9)))
    await reader.has(3)

    await hub.beat()
    await hub.beat()

    first, second = reader.heard[3:]
    assert (first["sent"], first["quotes"]) == (3, {"AAPL": [1, 2]})
    assert first["trades"] == {"AAPL": [1, 1]}
    assert first["t"] == OPENING_US + 1_000_000
    assert (second["sent"], second["quotes"]) == (4, {})
    assert [one["T"] for one in plain.heard] == ["q", "q"]


async def test_a_heartbeat_amid_a_batch_claims_nothing_that_was_not_sent(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "SLICE_TICKS", 1)
    monkeypatch.setattr(heart, "HEARTBEAT_SECONDS", 1_000)
    monkeypatch.setattr(turns, "TURN_SECONDS", 0.0)
    reader = Reader(hub, JSON_HONEST).want(quotes=["*"])
    bus().publish(TICKS, batch(number=1)._replace(watermark_us=OPENING_US))
    await until(lambda: hub._standings.pulse(0.0).watermark_us)
    deliver, beats = hub.deliver, []

    def beat_between(ticks: Iterable[Quote | Trade]) -> None:
        deliver(ticks)
        beats.append(asyncio.create_task(hub.beat()))

    monkeypatch.setattr(hub, "deliver", beat_between)
    bus().publish(TICKS, batch(quote(n=1), quote(n=2), number=2))
    await reader.has(4)
    await until(lambda: hub._standings.pulse(0.0).watermark_us != OPENING_US)
    await hub.beat()

    assert [one["T"] for one in reader.heard] == ["q", "heartbeat", "q", "heartbeat", "heartbeat"]
    told = [one["t"] for one in reader.heard if one["T"] == "heartbeat"]
    assert told == [OPENING_US, OPENING_US, OPENING_US + 1_000_000]


async def test_a_slow_reader_gets_its_heartbeat_once_it_has_what_it_tells(hub: Hub) -> None:
    reader = Reader(hub, JSON_HONEST).want(quotes=["*"])
    reader.wire.room = 0
    hub.deliver([quote("PAD", n=n) for n in range(1, 600)])
    assert reader.socket.holding

    hub.deliver([quote(n=1), quote(n=2)])
    await hub.beat()
    hub.deliver([quote("IBM", n=3)])
    await hub.beat()
    reader.wire.drain(10**9)
    await until(lambda: not reader.socket.holding)
    assert "heartbeat" not in [one["T"] for one in reader.heard]
    await hub.beat()

    *quotes, beat = reader.heard
    assert beat["sent"] == len(quotes)
    assert beat["quotes"].keys() == {"PAD", "AAPL", "IBM"}
    newest = {one["S"]: one["seq"] for one in quotes}
    assert {symbol: number for symbol, (_, number) in beat["quotes"].items()} == newest


async def test_the_heart_beats_by_itself(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heart, "HEARTBEAT_SECONDS", 0.01)
    reader = Reader(hub, JSON_HONEST)

    heard = await reader.has(3)

    assert {one["T"] for one in heard} == {"heartbeat"}


async def test_who_has_just_come_hears_that_all_is_live_before_the_next_heartbeat_of_all(
    hub: Hub, only_greetings: None
) -> None:
    reader = Reader(hub, JSON_HONEST).want(quotes=["AAPL"])
    await settled()
    assert reader.heard == []  # as long as no batch has come

    hub.deliver([quote(n=1)])
    bus().publish(TICKS, batch(number=1))
    heard = await reader.has(3)

    assert heard[0]["T"] == "q"
    assert {(one["T"], one["current"]) for one in heard[1:]} == {("heartbeat", True)}
    assert [one["sent"] for one in heard[1:]] == list(range(1, len(heard)))


async def test_a_newcomer_hears_at_once_of_a_bar_that_was_lost(
    hub: Hub, only_greetings: None
) -> None:
    reader = Reader(hub, JSON_HONEST).want(bars=["AAPL"])
    bus().publish(BARS, [bar("AAPL")])
    await until(lambda: "b" in [one["T"] for one in reader.heard])

    hub._news.skip_numbers()
    heard = len(reader.heard)
    beat = (await reader.has(heard + 2))[-1]

    [arrived] = [one["seq"] for one in reader.heard if one["T"] == "b"]
    assert beat["bars"]["AAPL"][1] > arrived


async def test_who_logs_in_while_all_are_told_is_told_soon_after(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heart, "HEARTBEAT_SECONDS", 0.05)
    socket = Reader(hub, JSON_HONEST).socket
    credential, socket.credential = socket.credential, None
    greeted: list[Socket] = []

    async def beat() -> None:
        socket.credential = credential

    async def greet(newcomers: Collection[Socket]) -> None:
        greeted.extend(one for one in newcomers if one.credential)

    own = heart.Heart(beat, greet)
    own.meet(socket)
    beating = asyncio.create_task(own.beat_on())
    await until(lambda: socket in greeted)
    beating.cancel()


async def test_no_heartbeat_before_anybody_is_there(hub: Hub) -> None:
    reader = Reader(hub, JSON_HONEST)
    reader.socket.credential = None

    await hub.beat()

    assert reader.heard == []


async def test_drain_tells_honest_sockets_only(hub: Hub) -> None:
    honest, plain = Reader(hub, JSON_HONEST), Reader(hub, JSON_IN_BINARY)

    hub.drain()

    assert [one["T"] for one in honest.heard] == ["shutdown"]
    assert plain.heard == []
