"""The hub when it did not hear, and what it tells clients who want to know."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pytest
from django.conf import settings

from quotes.latest import Latest
from quotes.streaming import halts, heart, resync
from quotes.streaming import hub as hub_module
from quotes.streaming.audience import Channel
from quotes.streaming.bus import BARS, CONTROL, bus
from quotes.streaming.codec import (
    JSON_HONEST,
)
from quotes.streaming.hub import Hub
from quotes.ticks import Place
from tests.faults.chaos import chaos, redis_replies
from tests.quotes.honest_client import ANSWERED, HonestClient
from tests.quotes.hub_readers import TICKS, Q, Reader, Store, T, hub_on, settled
from tests.streams import bar, batch, quote, trade
from tests.waiting import PATIENCE_SECONDS, until


def snapshots(reader: Reader) -> list[dict[str, Any]]:
    return [one for one in reader.heard if one["T"] == "snapshot"]


async def test_a_lost_batch_is_healed_from_the_store(hub: Hub, store: Store) -> None:
    plain = Reader(hub).want(quotes=["AAPL", "IBM"])
    honest = Reader(hub, JSON_HONEST).want(quotes=["IBM"], trades=["IBM"])
    store.holds = {"AAPL": Latest(quote(n=2)), "IBM": Latest(quote("IBM", n=7))}

    bus().publish(TICKS, batch(quote(n=1), number=1))
    bus().publish(TICKS, batch(quote(n=3), number=3))
    await plain.has(3)

    assert plain.numbers == [("q", "AAPL", 1), ("q", "AAPL", 3), ("q", "IBM", 7)]
    await until(lambda: honest.heard[-1:] and honest.heard[-1]["T"] == "snapshot")
    assert honest.heard[-1]["quote"]["seq"] == 7


async def test_a_feed_that_takes_over_is_resynced_once(hub: Hub, store: Store) -> None:
    Reader(hub).want(quotes=["AAPL"])

    bus().publish(TICKS, batch(number=1, epoch=1))
    bus().publish(TICKS, batch(number=1, epoch=2))
    bus().publish(TICKS, batch(number=2, epoch=2))
    await settled()

    assert store.asked == [["AAPL"]]


async def test_a_full_mailbox_is_noticed(
    hub: Hub, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "TICK_BATCHES_MAX", 2)
    reader = Reader(hub).want(quotes=["AAPL", "IBM"])
    store.holds = {"IBM": Latest(quote("IBM", n=9))}

    bus().publish(TICKS, batch(quote("IBM", n=9), number=1))
    for number in range(2, 6):
        bus().publish(TICKS, batch(quote(n=number), number=number))
    await reader.has(3)

    assert ("q", "IBM", 9) in reader.numbers


async def test_the_hub_is_in_doubt_until_the_store_has_what_was_lost(
    hub: Hub, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resync, "RETRY_SECONDS", 0.01)
    reader = Reader(hub, JSON_HONEST).want(quotes=["AAPL"])
    store.holds, store.come_to = {"AAPL": Latest(quote(n=1))}, Place(1, 1)

    bus().publish(TICKS, batch(quote(n=1), number=1))
    bus().publish(TICKS, batch(number=3))  # what the second told has not been stored yet
    await until(lambda: store.asked)
    await hub.beat()
    assert reader.heard[-1]["current"] is False

    store.holds = {"AAPL": Latest(quote(n=2))}
    store.come_to = Place(1, 3)
    await until(lambda: not hub._resync.doubt.is_open)
    await hub.beat()

    assert [one["seq"] for one in reader.heard if one["T"] == "q"] == [1, 2]
    assert reader.heard[-1]["current"] is True
    assert len(store.asked) == 2


async def test_a_loss_that_nothing_followed_leaves_the_doubt(hub: Hub, store: Store) -> None:
    reader = Reader(hub, JSON_HONEST).want(quotes=["AAPL"])
    bus().publish(TICKS, batch(number=1))
    await settled()

    hub._tick_mail.flag_missed()
    await until(lambda: store.asked)
    await hub.beat()
    assert reader.heard[-1]["current"] is False

    bus().publish(TICKS, batch(number=2))
    await until(lambda: not hub._resync.doubt.is_open)


async def test_where_nobody_wants_ticks_there_is_nothing_to_doubt(hub: Hub) -> None:
    reader = Reader(hub, JSON_HONEST).want(bars=["AAPL"])
    await hub.beat()
    reader.want(quotes=["AAPL"])  # of which nothing has been heard
    await hub.beat()

    assert [one["current"] for one in reader.heard] == [True, False]


async def test_while_halts_cannot_be_looked_up_that_were_missed_there_is_doubt(
    hub: Hub, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heart, "HEARTBEAT_SECONDS", 1_000)
    monkeypatch.setattr(halts, "RETRY_SECONDS", 0.01)
    look, answers = store.halted, asyncio.Event()

    async def fail() -> dict[str, str]:
        if not answers.is_set():
            raise OSError("away")
        return await look()

    reader = Reader(hub, JSON_HONEST).want(statuses=["AAPL"])
    store.halted = fail  # type: ignore[method-assign]
    hub._news_mail.flag_missed()
    await hub.beat()  # before the hub has read that it missed something
    await until(lambda: not hub._news_mail.missed)
    await hub.beat()
    answers.set()
    await until(lambda: not hub._halts.is_in_doubt)
    await hub.beat()

    assert [one["current"] for one in reader.heard] == [False, False, True]


@pytest.mark.redis_bus
@pytest.mark.skipif(not settings.REDIS_URL, reason="NO REDIS: set REDIS_URL")
async def test_where_no_news_arrive_there_is_doubt_though_nobody_wants_ticks(
    settings: Any, store: Store
) -> None:
    url = urlsplit(settings.REDIS_URL)

    async def beat_until(reader: Reader, current: bool) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not reader.heard or reader.heard[-1]["current"] is not current:
                await asyncio.sleep(0.05)
                await reader.hub.beat()

    with chaos(url.port or 6379, redis_replies) as way:
        settings.REDIS_STATE_URL = urlunsplit(url._replace(netloc=f"127.0.0.1:{way.port}"))
        async with hub_on(store) as hub:
            reader = Reader(hub, JSON_HONEST).want(bars=["AAPL"], statuses=["AAPL"])
            await beat_until(reader, current=True)
            way.mischief.is_away = True
            await beat_until(reader, current=False)
            way.mischief.is_away = False
            await beat_until(reader, current=True)

    assert reader.heard[-1]["quotes"] == {}


async def test_a_doubt_ends_with_the_last_socket(hub: Hub, store: Store) -> None:
    first = Reader(hub, JSON_HONEST).want(quotes=["AAPL"])
    bus().publish(TICKS, batch(number=1))
    await settled()
    hub._tick_mail.flag_missed()
    await until(lambda: store.asked)
    hub.leave(first.socket)

    second = Reader(hub, JSON_HONEST).want(quotes=["AAPL"])
    bus().publish(TICKS, batch(number=2))
    await settled()
    await hub.beat()

    assert second.heard[-1]["current"] is True


async def test_a_loss_during_a_resync_is_resynced_too(
    hub: Hub, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resync, "RETRY_SECONDS", 0.01)
    reader = Reader(hub, JSON_HONEST).want(quotes=["AAPL"])
    store.come_to = Place(1, 3)
    store.answers.clear()
    bus().publish(TICKS, batch(number=1))
    bus().publish(TICKS, batch(number=3))
    await until(lambda: store.asked)

    bus().publish(TICKS, batch(number=5))
    await settled()
    hub._resync.doubt.raise_()
    store.holds, store.come_to = {"AAPL": Latest(quote(n=4))}, Place(1, 6)
    store.answers.set()
    bus().publish(TICKS, batch(number=6))
    await until(lambda: not hub._resync.doubt.is_open)

    assert len(store.asked) >= 2
    assert [one["seq"] for one in reader.heard if one["T"] == "q"] == [4]


async def test_a_price_that_was_lost_is_in_every_later_snapshot(hub: Hub, store: Store) -> None:
    early = Reader(hub, JSON_HONEST).want(quotes=["AAPL"], trades=["AAPL"])
    store.holds = {"AAPL": Latest(quote(n=1), trade(n=5))}
    bus().publish(TICKS, batch(quote(n=1), trade(n=4), number=1))
    bus().publish(TICKS, batch(number=3))
    await until(lambda: early.heard[-1:] and early.heard[-1]["T"] == "snapshot")

    late = Reader(hub, JSON_HONEST)
    standing = await hub.want_from_here(late.socket, {T: ["AAPL"]})
    await hub.beat()

    assert standing["AAPL"].trade == trade(n=5)
    assert early.heard[-2]["trades"] == [1, 5]
    assert early.heard[-1]["trades"] == {"AAPL": [1, 5]}


async def test_trades_that_the_store_had_before_they_were_heard_are_delivered(
    hub: Hub, store: Store
) -> None:
    plain, honest = Reader(hub).want(trades=["AAPL"]), Reader(hub, JSON_HONEST)
    honest.want(trades=["AAPL"])
    store.holds = {"AAPL": Latest(None, trade(n=10))}
    bus().publish(TICKS, batch(trade(n=6), number=6))
    bus().publish(TICKS, batch(number=8))  # trade 7 was lost
    await until(lambda: snapshots(honest))

    for n in (8, 9, 10):
        bus().publish(TICKS, batch(trade(n=n), number=n + 1))
        bus().publish(TICKS, batch(trade(n=n), number=n + 1))
    await until(lambda: plain.numbers[-1:] == [("t", "AAPL", 10)])

    assert plain.numbers == [("t", "AAPL", n) for n in (6, 8, 9, 10)]
    assert snapshots(honest)[-1]["trades"] == [1, 10]
    told = [one for one in honest.heard if one["T"] != "heartbeat"]
    assert [one["seq"] for one in told if one["T"] == "t"] == [6, 8, 9, 10]
    client = HonestClient(["AAPL"])
    assert not any(client.hear(one, 0.0) for one in told)
    assert client.needs == {"AAPL": ANSWERED}
    assert client.prices == {"AAPL": (1, 10, 0)}


async def test_repeated_and_late_batches_hide_no_gap(hub: Hub, store: Store) -> None:
    Reader(hub).want(quotes=["AAPL"])
    for number in (1, 2, 3, 1, 2, 3, 4):
        bus().publish(TICKS, batch(number=number))
    await settled()
    assert store.asked == []

    for number in (5, 2, 7):
        bus().publish(TICKS, batch(number=number))
    await settled()

    assert store.asked == [["AAPL"]]


async def test_the_hub_survives_a_store_that_fails(hub: Hub, store: Store) -> None:
    async def fail(symbols: Sequence[str]) -> dict[str, Latest]:
        raise OSError("away")

    store.latest = fail  # type: ignore[method-assign]
    reader = Reader(hub).want(quotes=["AAPL"])

    bus().publish(TICKS, batch(number=1))
    bus().publish(TICKS, batch(number=3))
    bus().publish(TICKS, batch(quote(n=1), number=4))
    await reader.has(1)

    assert await hub.want_from_here(reader.socket, {Q: ["IBM"]}) == {}


async def test_halts_that_were_missed_are_told_when_the_news_flow_again(
    hub: Hub, store: Store
) -> None:
    store.halts = {"OLD": "before", "ENDED": "before"}
    reader = Reader(hub, JSON_HONEST)
    await hub.want_from_here(reader.socket, {Channel.STATUSES: ["*"]})
    bus().publish(CONTROL, {"kind": "halt", "symbol": "HEARD", "reason": "news"})
    await reader.has(1)

    store.halts = {"OLD": "before", "HEARD": "news", "MISSED": "volatility"}
    hub._news_mail.flag_missed()
    await until(lambda: {"MISSED", "ENDED"} <= {one["S"] for one in reader.heard})

    told = {one["S"]: (one["sc"], one["rm"], one["seq"]) for one in reader.heard}
    assert told == {
        "HEARD": ("H", "news", 1),
        "MISSED": ("H", "volatility", 2),  # the lost one may have been of any
        "ENDED": ("T", "", 2),
    }


async def test_a_lost_bar_shows_in_the_next_heartbeat_though_it_was_the_first(hub: Hub) -> None:
    reader = Reader(hub, JSON_HONEST).want(bars=["AAPL", "IBM"])
    bus().publish(BARS, [bar()])
    await reader.has(1)
    await hub.beat()

    hub._news_mail.flag_missed()
    await until(lambda: hub._news._numbers[Channel.BARS].losses)
    await hub.beat()

    assert [one["bars"] for one in reader.heard[1:]] == [
        {"AAPL": [0, 1]},
        {"AAPL": [0, 2], "IBM": [0, 1]},
    ]


async def test_names_that_nobody_ever_heard_of_take_no_room_after_a_loss(
    hub: Hub, store: Store
) -> None:
    made_up = [f"NAME{n}" for n in range(3)]
    reader = Reader(hub, JSON_HONEST).want(bars=made_up, trades=made_up, statuses=made_up)
    bus().publish(TICKS, batch(number=1))
    await until(lambda: hub._standings.has_heard)
    hub._news_mail.flag_missed()
    hub._tick_mail.flag_missed()
    await until(lambda: store.asked and not hub._news_mail.missed)
    await hub.beat()
    assert reader.heard[-1]["bars"].keys() == {*made_up}, "the lost one may have been of any"

    bus().publish(TICKS, batch(number=2))
    await until(lambda: not hub._resync.doubt.is_open)
    reader.want()
    await hub.beat()
    await hub.beat()
    store.asked.clear()

    held_by = [each for each in gc.get_referrers(made_up[0]) if each is not made_up]
    assert held_by == []


# --- honest streams -----------------------------------------------------------------------------


async def test_snapshot_comes_before_the_stream_and_joins_it_without_a_gap(
    hub: Hub, store: Store
) -> None:
    store.holds = {"AAPL": Latest(quote(n=4), trade(n=2))}
    store.answers.clear()
    reader = Reader(hub, JSON_HONEST)
    asking = asyncio.create_task(hub.want_from_here(reader.socket, {Q: ["AAPL"], T: ["AAPL"]}))
    await until(lambda: store.asked)

    # Ticks that come while the store is being asked belong to the snapshot.
    bus().publish(TICKS, batch(quote(n=5), trade(n=3, sets_price=False), number=1))
    await settled()
    store.answers.set()
    [(symbol, position)] = (await asking).items()
    assert reader.heard == []
    bus().publish(TICKS, batch(quote(n=6), trade(n=4), number=2))
    await reader.has(2)

    assert symbol == "AAPL"
    assert (position.quote.sequence, position.trade.sequence) == (5, 2)
    assert position.trades == (1, 3)
    assert reader.numbers == [("q", "AAPL", 6), ("t", "AAPL", 4)]


async def test_what_was_heard_needs_no_store(hub: Hub, store: Store) -> None:
    Reader(hub).want(quotes=["*"])
    hub.deliver([quote(n=1), trade(n=1), quote("IBM", n=2), trade("IBM", n=2)])
    reader = Reader(hub, JSON_HONEST)

    standing = await hub.want_from_here(reader.socket, {Q: ["AAPL"]})
    everything = await hub.want_from_here(reader.socket, {Q: ["*"]})

    assert standing == {"AAPL": (quote(n=1), trade(n=1), (1, 1))}
    assert everything.keys() == {"AAPL", "IBM"}
    assert store.asked == []


async def test_everything_that_is_listed_has_a_snapshot(hub: Hub, store: Store) -> None:
    store.holds = {"AAPL": Latest(quote(n=4)), "QUIET": Latest()}
    store.halts = {"QUIET": "since yesterday"}
    reader = Reader(hub, JSON_HONEST)

    hub.snapshot(reader.socket, await hub.want_from_here(reader.socket, {Q: ["*"]}))
    told = [(one["S"], one["halted"], one["resync"]) for one in reader.heard]
    await hub.resync(reader.socket, 7)

    assert sorted(told) == [("AAPL", False, None), ("QUIET", True, None)]
    assert [one["resync"] for one in reader.heard[2:]] == [7, 7]


async def test_snapshots_for_a_slow_reader_are_conflated(hub: Hub, store: Store) -> None:
    reader = Reader(hub, JSON_HONEST).want(quotes=["*"])
    reader.wire.room = 0
    hub.deliver([quote("PAD", n=n) for n in range(1, 600)])
    assert reader.socket.holding

    for n in range(1, 4):
        store.holds = {"AAPL": Latest(quote(n=n))}
        await hub.resync(reader.socket, n)
    reader.wire.drain(10**9)
    await until(lambda: not reader.socket.holding)

    told = [one for one in reader.heard if one["T"] == "snapshot" and one["S"] == "AAPL"]
    assert [(one["resync"], one["quote"]["seq"]) for one in told] == [(3, 3)]


async def test_an_answer_that_waits_is_replaced_by_no_lesser_one(hub: Hub, store: Store) -> None:
    """A slow reader's snapshot of its own request, and then one that the hub sends to all."""
    reader = Reader(hub, JSON_HONEST).want(quotes=["*"])
    reader.wire.room = 0
    hub.deliver([quote("PAD", n=n) for n in range(1, 600)])
    assert reader.socket.holding

    store.holds = {"AAPL": Latest(quote(n=1))}
    await hub.resync(reader.socket, 7)
    store.holds = {"AAPL": Latest(quote(n=2))}
    await hub._take_stock()
    reader.wire.drain(10**9)
    await until(lambda: not reader.socket.holding)

    told = [one for one in snapshots(reader) if one["S"] == "AAPL"]
    assert [(one["resync"], one["quote"]["seq"]) for one in told] == [(7, 2)]


async def test_a_request_that_the_store_fails_is_answered_when_it_is_back(
    hub: Hub, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resync, "RETRY_SECONDS", 0.01)
    look, failures = store.latest, [OSError("away"), OSError("away")]

    async def fail_twice(symbols: Sequence[str]) -> dict[str, Latest]:
        if failures:
            raise failures.pop()
        return await look(symbols)

    store.latest = fail_twice  # type: ignore[method-assign]
    store.holds = {"AAPL": Latest(quote(n=1))}
    reader = Reader(hub, JSON_HONEST).want(quotes=["AAPL"])

    await hub.resync(reader.socket, 7)
    assert snapshots(reader) == []
    bus().publish(TICKS, batch(number=1))
    await until(lambda: snapshots(reader))

    assert [one["resync"] for one in snapshots(reader)] == [7]


async def test_who_wants_only_statuses_is_answered_when_the_store_is_back(
    hub: Hub, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No batch is heard there, with which a quote's reader is told. More than once, too."""
    monkeypatch.setattr(resync, "RETRY_SECONDS", 0.01)
    look, is_away = store.latest, True

    async def fail(symbols: Sequence[str]) -> dict[str, Latest]:
        if is_away:
            raise OSError("away")
        return await look(symbols)

    store.latest = fail  # type: ignore[method-assign]
    store.holds, store.halts = {"AAPL": Latest(quote(n=1))}, {"AAPL": "news"}
    reader = Reader(hub, JSON_HONEST)
    for asked, ask in enumerate(
        (
            lambda: hub.want_from_here(reader.socket, {Channel.STATUSES: ["AAPL"]}),
            lambda: hub.resync(reader.socket, 7),
            lambda: hub.resync(reader.socket, 8),
        )
    ):
        is_away = True
        await ask()
        assert len(snapshots(reader)) == asked
        is_away = False
        await until(lambda asked=asked: len(snapshots(reader)) > asked)

    assert [(one["resync"], one["halted"]) for one in snapshots(reader)] == [
        (None, True),
        (7, True),
        (8, True),
    ]
    # Nobody hears its ticks: what is known of it would grow old.
    await until(lambda: not hub._standings.symbols())


async def test_taking_stock_hears_no_more_than_before(
    hub: Hub, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a network what is heard anew counts as missed before: it would take stock for ever."""
    store.holds = {"AAPL": Latest(quote(n=1))}
    reader = Reader(hub, JSON_HONEST)
    await hub.want_from_here(reader.socket, {Channel.STATUSES: ["AAPL"]})
    heard_anew: list[str] = []
    monkeypatch.setattr(hub, "use", heard_anew.extend)

    await hub._take_stock()

    assert len(snapshots(reader)) == 1
    assert not heard_anew
    assert not hub._standings.symbols()  # nobody hears its ticks: what is known of it grows old


async def test_a_second_subscription_snapshots_only_what_is_new(hub: Hub, store: Store) -> None:
    store.holds = {name: Latest(quote(name)) for name in ("AAPL", "IBM")}
    reader = Reader(hub, JSON_HONEST)

    await hub.want_from_here(reader.socket, {Q: ["AAPL"]})
    standing = await hub.want_from_here(reader.socket, {Q: ["AAPL", "IBM"]})

    assert standing.keys() == {"IBM"}


async def test_old_positions_are_forgotten_when_nobody_hears(hub: Hub, store: Store) -> None:
    reader = Reader(hub, JSON_HONEST).want(quotes=["*"])
    hub.deliver([quote(n=1), trade(n=1)])
    reader.want()
    store.holds = {"AAPL": Latest(quote(n=90))}

    standing = await hub.want_from_here(reader.socket, {Q: ["AAPL"]})

    assert standing["AAPL"].quote.sequence == 90
