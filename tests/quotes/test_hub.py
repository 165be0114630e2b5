"""The hub: what it hears, and to whom it hands it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from django.test import override_settings
from hypothesis import given, settings
from hypothesis import strategies as st

from quotes.streaming import hub as hub_module
from quotes.streaming import turns
from quotes.streaming.audience import Channel
from quotes.streaming.bus import BARS, CONTROL, bus, forget_bus
from quotes.streaming.codec import (
    JSON,
    JSON_HONEST,
    JSON_IN_BINARY,
    MSGPACK,
    Codec,
)
from quotes.streaming.hub import Hub
from tests.quotes.hub_readers import TICKS, Q, Reader, Store, T
from tests.streams import Someone, bar, batch, quote, trade
from tests.waiting import PATIENCE_SECONDS, until


async def test_ticks_reach_who_asked_for_them_and_nobody_else(hub: Hub) -> None:
    apple = Reader(hub).want(quotes=["AAPL"])
    apple_trades = Reader(hub).want(trades=["AAPL"])
    ibm = Reader(hub).want(quotes=["IBM"], trades=["IBM"])
    everything = Reader(hub).want(quotes=["*"])
    nothing = Reader(hub)

    bus().publish(TICKS, batch(quote(n=1), trade(n=2), quote("IBM", n=3)))
    await everything.has(2)

    assert apple.numbers == [("q", "AAPL", 1)]
    assert apple_trades.numbers == [("t", "AAPL", 2)]
    assert ibm.numbers == [("q", "IBM", 3)]
    assert everything.numbers == [("q", "AAPL", 1), ("q", "IBM", 3)]
    assert nothing.heard == []


async def test_wildcard_beside_a_name_delivers_once(hub: Hub) -> None:
    reader = Reader(hub).want(quotes=["AAPL", "*"])

    bus().publish(TICKS, batch(quote(n=1), quote("IBM", n=2)))
    await reader.has(2)

    assert reader.numbers == [("q", "AAPL", 1), ("q", "IBM", 2)]

    reader.want(quotes=["AAPL"])
    bus().publish(TICKS, batch(quote("IBM", n=3), quote(n=4), number=2))
    await reader.has(3)

    assert reader.numbers[2:] == [("q", "AAPL", 4)]


async def test_the_same_bytes_go_to_every_socket_of_a_codec(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[str] = []
    encode = Codec.quote

    def counted(codec: Codec, tick: Any) -> bytes:
        encoded.append(codec.name)
        return encode(codec, tick)

    monkeypatch.setattr(Codec, "quote", counted)
    readers = [Reader(hub, codec) for codec in (JSON, JSON, JSON, MSGPACK, MSGPACK)]
    for number, reader in enumerate(readers):
        reader.want(quotes=["AAPL"] if number % 2 else ["*"])

    hub.deliver([quote(n=1), quote("IBM", n=2)])

    assert sorted(encoded) == ["json", "json", "msgpack", "msgpack"]
    assert readers[0].wire.written == readers[2].wire.written
    assert readers[3].wire.written in readers[4].wire.written


async def test_what_nobody_wants_is_not_encoded(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Codec, "quote", lambda *_: pytest.fail("encoded for nobody"))
    Reader(hub).want(quotes=["IBM"], trades=["AAPL"])

    hub.deliver([quote("AAPL")])


async def test_one_batch_is_one_write_per_socket(hub: Hub) -> None:
    reader = Reader(hub).want(quotes=["*"], trades=["*"])

    bus().publish(TICKS, batch(quote(n=1), trade(n=2), quote("IBM", n=3)))
    await reader.has(3)

    assert reader.wire.writes == 1


async def test_batches_that_waited_together_are_one_write_per_socket(hub: Hub) -> None:
    reader = Reader(hub).want(trades=["*"])

    for number in range(1, 6):
        bus().publish(TICKS, batch(trade(n=number), number=number))
    await reader.has(5)

    assert [at for _, _, at in reader.numbers] == [1, 2, 3, 4, 5]
    assert reader.wire.writes == 1


async def test_what_comes_after_long_deliveries_waits_for_what_the_loop_has_yet_to_read(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "TURN_SECONDS", 0.0)  # all deliveries are long
    loop, reader = asyncio.get_running_loop(), Reader(hub).want(quotes=["AAPL"])
    deliver = hub.deliver
    await hub.hearing()

    def deliver_while_more_comes(ticks: Any) -> None:
        deliver(ticks)
        if reader.wire.writes == 1:
            loop.call_soon(arrive, 2)

    def arrive(n: int) -> None:
        hub._tick_mail.put(TICKS, batch(quote(n=n), number=n))
        if 1 < n < 4:
            loop.call_soon(arrive, n + 1)

    monkeypatch.setattr(hub, "deliver", deliver_while_more_comes)
    arrive(1)
    await reader.has(4)

    assert reader.wire.writes == 2


async def test_the_flush_interval_of_the_deployment_lets_ticks_gather(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hub_module, "StoredMarket", Store)
    with override_settings(STREAM_FLUSH_MS=300):
        hub = hub_module.hub()
    assert hub_module.hub() is hub
    reader = Reader(hub).want(trades=["*"])
    bus().publish(TICKS, batch(trade(n=1), number=1))
    await reader.has(1)  # the first one has nothing to wait for

    for number in range(2, 6):
        bus().publish(TICKS, batch(trade(n=number), number=number))
        for _ in range(5):  # in which each would go out by itself
            await asyncio.sleep(0)
    await reader.has(5)
    hub.leave(reader.socket)

    assert reader.wire.writes == 2


async def test_a_big_batch_leaves_turns_to_the_loop(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "SLICE_TICKS", 10)
    monkeypatch.setattr(turns, "TURN_SECONDS", 0.0)
    reader = Reader(hub).want(quotes=["*"])
    seen: list[int] = []

    async def watch() -> None:
        while len(reader.numbers) < 100:
            seen.append(len(reader.numbers))
            await asyncio.sleep(0)

    bus().publish(TICKS, batch(*(quote(n=n) for n in range(1, 101))))
    async with asyncio.timeout(PATIENCE_SECONDS):
        await watch()

    assert len({*seen} - {0, 100}) >= 5


async def test_an_older_tick_never_follows_a_newer_one(hub: Hub) -> None:
    reader = Reader(hub).want(quotes=["*"], trades=["*"])

    hub.deliver([quote(n=5), trade(n=2), quote(n=4), quote(n=5), trade(n=1), trade(n=3)])

    assert reader.numbers == [("q", "AAPL", 5), ("t", "AAPL", 2), ("t", "AAPL", 3)]


async def test_batches_of_an_older_feed_epoch_are_dropped(hub: Hub) -> None:
    reader = Reader(hub).want(quotes=["*"])

    bus().publish(TICKS, batch(quote(n=50, epoch=1), epoch=1))
    bus().publish(TICKS, batch(quote(n=1, epoch=2), epoch=2))
    late = quote(n=51, epoch=1), quote("IBM", n=52, epoch=1)
    bus().publish(TICKS, batch(*late, epoch=1, number=2))
    bus().publish(TICKS, batch(quote(n=2, epoch=2), epoch=2, number=2))
    await reader.has(3)

    assert [n for _, _, n in reader.numbers] == [50, 1, 2]


async def test_bars_go_by_kind_and_a_second_of_the_same_minute_is_a_correction(hub: Hub) -> None:
    reader = Reader(hub).want(bars=["AAPL"], updatedBars=["*"], dailyBars=["AAPL"])
    minutes = Reader(hub).want(bars=["*"])

    bus().publish(BARS, [bar(minute=0), bar("IBM", minute=0)])
    bus().publish(BARS, [bar(minute=1), bar(minute=0, volume=2_000), bar(timeframe="1Day")])
    await reader.has(4)

    assert [one["T"] for one in reader.heard] == ["b", "b", "u", "d"]
    assert reader.heard[2]["v"] == 2_000
    assert [(one["T"], one["S"]) for one in minutes.heard] == [
        ("b", "AAPL"),
        ("b", "IBM"),
        ("b", "AAPL"),
    ]


async def test_a_bar_of_a_minute_that_is_over_is_an_update_though_it_was_not_heard(
    hub: Hub,
) -> None:
    reader = Reader(hub).want(bars=["*"], updatedBars=["*"])

    bus().publish(BARS, [bar("IBM", minute=3), bar("MSFT", minute=3)])
    bus().publish(BARS, [bar("AAPL", minute=2)])
    bus().publish(BARS, [bar("AAPL", minute=4), bar("IBM", minute=4)])
    await reader.has(5)

    assert [(one["T"], one["S"]) for one in reader.heard[2:]] == [
        ("u", "AAPL"),
        ("b", "AAPL"),
        ("b", "IBM"),
    ]


async def test_honest_bars_are_numbered_without_gaps_per_symbol_and_kind(hub: Hub) -> None:
    reader = Reader(hub, JSON_HONEST).want(bars=["*"], dailyBars=["*"])

    for minute in range(3):
        bus().publish(BARS, [bar(minute=minute), bar("IBM", minute=minute), bar(timeframe="1Day")])
    await reader.has(9)

    for kind, symbol in (("b", "AAPL"), ("b", "IBM"), ("d", "AAPL")):
        of_kind = [one for one in reader.heard if (one["T"], one["S"]) == (kind, symbol)]
        assert [one["seq"] for one in of_kind] == [1, 2, 3]


async def test_lost_bars_leave_a_gap_in_the_numbers(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "NEWS_MAX", 2)
    reader = Reader(hub, JSON_HONEST).want(bars=["*"])
    bus().publish(BARS, [bar(minute=0)])
    await reader.has(1)

    for minute in range(1, 5):
        bus().publish(BARS, [bar(minute=minute)])
    await reader.has(3)

    assert [one["seq"] for one in reader.heard] == [1, 3, 4]


async def test_halts_reach_who_wants_statuses_with_market_time(hub: Hub) -> None:
    reader = Reader(hub).want(statuses=["AAPL"], quotes=["AAPL"])
    bus().publish(TICKS, batch(quote()))
    await reader.has(1)

    bus().publish(CONTROL, {"kind": "halt", "symbol": "AAPL", "reason": "news"})
    bus().publish(CONTROL, {"kind": "halt", "symbol": "IBM", "reason": ""})
    bus().publish(CONTROL, {"kind": "resume", "symbol": "AAPL"})
    _, *told = await reader.has(3)

    assert [(one["sc"], one["rm"]) for one in told] == [("H", "news"), ("T", "")]
    assert told[0]["t"] == "2013-10-07T13:30:01.000000Z"


@pytest.mark.parametrize(
    ("news", "hit"),
    [
        ({"kind": "key_revoked", "key_id": "KEY"}, ["KEY"]),
        ({"kind": "user_disabled", "user_id": 1}, ["KEY", None]),
        ({"kind": "user_enabled", "user_id": 1}, []),
        ({"kind": "clock"}, []),
    ],
)
async def test_control_closes_exactly_whom_it_names(
    hub: Hub, news: dict[str, Any], hit: list[str | None]
) -> None:
    readers = {key_id: Reader(hub) for key_id in ("KEY", None, "OTHER")}
    for key_id, reader in readers.items():
        reader.socket.credential = Someone(2 if key_id == "OTHER" else 1, 11, key_id)
        reader.want(quotes=["*"])
    stranger, witness = Reader(hub), Reader(hub).want(statuses=["AAPL"])
    stranger.socket.credential, witness.socket.credential = None, Someone(3, 33, "WITNESS")

    bus().publish(CONTROL, news)
    bus().publish(CONTROL, {"kind": "halt", "symbol": "AAPL", "reason": ""})
    await witness.has(1)
    await until(lambda: all(readers[key_id].closed_with for key_id in hit))
    hub.deliver([quote()])

    for key_id, reader in readers.items():
        said = [one["T"] for one in reader.heard]
        assert said == (["revoked"] if key_id in hit else ["q"])
        assert reader.closed_with == ([4401] if key_id in hit else [])
    assert stranger.closed_with == []


async def test_garbage_on_the_bus_does_not_stop_the_hub(hub: Hub) -> None:
    reader = Reader(hub).want(quotes=["*"], bars=["*"], statuses=["*"])

    bus().publish(CONTROL, {"kind": "key_revoked"})
    bus().publish(CONTROL, None)
    bus().publish(BARS, [None])
    bus().publish(TICKS, None)
    bus().publish(TICKS, batch(quote()))
    bus().publish(BARS, [bar()])
    await reader.has(2)

    assert sorted(one["T"] for one in reader.heard) == ["b", "q"]


async def test_listeners_hear_their_topic_until_they_stop(hub: Hub) -> None:
    Reader(hub)
    heard: list[Any] = []
    hub.listen("account:11", heard.append)
    bus().publish("account:11", {"n": 1})
    bus().publish("account:12", {"n": 2})
    await until(lambda: heard)

    hub.unlisten("account:11", heard.append)
    hub.listen("account:12", heard.append)
    bus().publish("account:11", {"n": 3})
    bus().publish("account:12", {"n": 4})
    await until(lambda: len(heard) > 1)

    assert heard == [{"n": 1}, {"n": 4}]


async def test_only_wanted_topics_are_heard_and_nothing_is_left_behind(hub: Hub) -> None:
    reader, other = Reader(hub), Reader(hub)
    assert hub._tick_mail.topics == frozenset()

    reader.want(quotes=["AAPL", "IBM"], bars=["AAPL"])
    other.want(trades=["*"])
    assert hub._tick_mail.topics == {TICKS}
    assert hub._news_mail.topics == {BARS, CONTROL}

    hub.leave(reader.socket)
    assert hub._tick_mail.topics == {TICKS}
    assert hub._news_mail.topics == {CONTROL}
    hub.leave(other.socket)
    hub.leave(other.socket)
    await asyncio.sleep(0)

    assert hub._tick_mail.closed
    assert hub._news_mail.closed
    assert not hub._users
    assert hub._tasks == []
    assert not any(audience.of for audience in hub._audiences.values())


async def test_the_hub_starts_again_after_its_last_socket_left(hub: Hub) -> None:
    first = Reader(hub).want(quotes=["*"])
    hub.leave(first.socket)
    second = Reader(hub).want(quotes=["*"])

    bus().publish(TICKS, batch(quote()))
    await second.has(1)

    assert first.heard == []


async def test_a_socket_that_cannot_be_written_to_harms_nobody_else(hub: Hub) -> None:
    broken, sound = Reader(hub).want(quotes=["*"]), Reader(hub).want(quotes=["*"])

    def fail(frames: bytes) -> None:
        raise OSError("gone")

    broken.wire.write = broken.socket.line.send = fail  # type: ignore[method-assign]
    hub.deliver([quote(n=1)])
    hub.deliver([quote(n=2)])

    assert len(sound.heard) == 2
    assert broken.closed_with == [4500]


async def test_a_heartbeat_that_cannot_be_written_harms_nobody_else(hub: Hub) -> None:
    readers = [Reader(hub, JSON_HONEST).want(quotes=["*"]) for _ in range(3)]
    broken = next(each for each in readers if each.socket is next(iter(hub.sockets)))

    def fail(frames: bytes) -> None:
        raise OSError("gone")

    broken.wire.write = broken.socket.line.send = fail  # type: ignore[method-assign]
    await hub.beat()

    assert [each.closed_with for each in readers if each is not broken] == [[], []]
    assert all(each.heard for each in readers if each is not broken)
    assert broken.closed_with == [4500]


async def test_a_slow_reader_whose_connection_breaks_keeps_no_other_waiting(hub: Hub) -> None:
    broken, slow = (Reader(hub).want(quotes=["*"]) for _ in range(2))
    broken.wire.room = slow.wire.room = 0
    for n in range(1, 2_000):
        hub.deliver([quote(n=n), quote("B", n=n)])
    assert broken.socket.holding
    assert slow.socket.holding

    def fail() -> int:
        raise OSError("gone")

    broken.wire.backlog = fail  # type: ignore[method-assign]
    await until(lambda: bool(broken.closed_with))
    slow.wire.drain(10**9)
    await until(lambda: not slow.socket.holding)

    assert broken.closed_with == [4500]


# --- any sequence of subscriptions ---------------------------------------------------------------

names = st.sampled_from(["A", "B", "C", "*"])
wants = st.dictionaries(st.sampled_from(list(Channel)), st.lists(names, max_size=4))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), wants), max_size=15))
def test_everyone_gets_exactly_what_they_last_asked_for(
    steps: list[tuple[int, dict[Channel, list[str]]]],
) -> None:
    async def play() -> None:
        forget_bus()
        hub = Hub(Store())
        readers = [Reader(hub, codec) for codec in (JSON, JSON, JSON_HONEST, JSON_IN_BINARY)]
        asked: dict[int, dict[Channel, list[str]]] = {}
        for index, wanted in steps:
            hub.want(readers[index].socket, wanted)
            asked[index] = wanted
        hub.deliver([tick(name) for name in "ABC" for tick in (quote, trade)])
        for index, reader in enumerate(readers):
            expected = {
                (kind, name)
                for kind, channel in (("q", Q), ("t", T))
                for name in "ABC"
                if {name, "*"} & set(asked.get(index, {}).get(channel, ()))
            }
            heard = [(one["T"], one["S"]) for one in reader.heard]
            assert sorted(heard) == sorted(expected)
            hub.leave(reader.socket)
        assert not hub._users
        assert not any(audience.of for audience in hub._audiences.values())
        await asyncio.sleep(0)

    asyncio.run(play())
