"""Corrections and cancellations of trades, from an upstream to whoever takes the trades."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quotes import history, latest
from quotes.clock import Clock
from quotes.feeds.alpaca import AlpacaFeed
from quotes.feeds.alpaca_wire import Revision, read_revision
from quotes.feeds.base import InstrumentSpec
from quotes.feeds.tape import CORRECTED_FROM, PATIENCE_SECONDS, Tape
from quotes.feeds.upstream import Upstream
from quotes.ingest import Ingest
from quotes.latest import Latest
from quotes.latest.local import LocalStore
from quotes.latest.rows import forget_instruments
from quotes.models import MarketClock
from quotes.streaming.bulletins import heartbeat
from quotes.streaming.bus import bus
from quotes.streaming.bus.wire import pack, unpack
from quotes.streaming.codec import (
    JSON_HONEST,
    MSGPACK,
    MSGPACK_HONEST,
    rfc3339,
    trade_id,
    trade_item,
    unframed,
)
from quotes.streaming.hub import Hub
from quotes.tick_history import store
from quotes.ticks import CANCELED, CORRECTED, INCORRECT, Amendment, Trade
from tests.quotes.amending import (
    NOW,
    cancellation,
    corrected,
    correction,
    told,
    twice_corrected,
)
from tests.quotes.hub_readers import TICKS, Reader, Store, hub_on
from tests.quotes.upstream import frames_of, upstream
from tests.streams import batch, quote, trade
from tests.waiting import until


def said(frame: bytes) -> dict[str, Any]:
    [(_, payload)] = unframed(frame)
    [message] = msgpack.unpackb(payload, timestamp=0)
    return message


# --- on the wire ----------------------------------------------------------------------------------


async def test_whoever_takes_trades_hears_of_them_in_the_words_of_the_contract() -> None:
    was = trade(n=7, conditions=("@", "F"))
    async with hub_on(Store()) as hub:
        trades, everything = Reader(hub).want(trades=["AAPL"]), Reader(hub).want(trades=["*"])
        others = [Reader(hub).want(quotes=["*"]), Reader(hub).want(trades=["IBM"])]
        told = batch(was)._replace(
            amendments=(correction(was, price=494_000, size=50), cancellation(was))
        )

        bus().publish(TICKS, told)
        await trades.has(3)
        assert trades.heard == everything.heard
        bus().publish(TICKS, batch(quote(n=8), trade("IBM", n=8), number=2))
        assert [[one["T"] for one in await each.has(1)] for each in others] == [["q"], ["t"]]
    assert [each["T"] for each in trades.heard] == ["t", "c", "x"]
    assert trades.heard[1:] == [
        {
            "T": "c", "S": "AAPL", "x": "V", "z": "", "t": rfc3339(NOW),
            "oi": trade_id(was), "op": 49.415, "os": 100, "oc": ["@", "F"],
            "ci": trade_id(corrected(was)), "cp": 49.4, "cs": 50, "cc": ["@", "F"],
        },
        {
            "T": "x", "S": "AAPL", "x": "V", "z": "", "t": rfc3339(NOW),
            "i": trade_id(was), "p": 49.415, "s": 100, "a": "C",
        },
    ]  # fmt: skip


async def test_honest_ones_are_numbered_and_a_loss_shows() -> None:
    def told(number: int) -> Any:
        return batch(number=number)._replace(amendments=(cancellation(trade(n=7)),))

    async with hub_on(Store()) as hub:
        reader = Reader(hub, JSON_HONEST).want(trades=["AAPL"])
        for number in (1, 2, 4, 4, 5):  # the third is lost, the fourth comes twice
            bus().publish(TICKS, told(number))
        await until(lambda: any(each.get("seq") == 5 for each in reader.heard), "the last")
        numbers = [(each["epoch"], each["seq"]) for each in reader.heard if each["T"] == "x"]

    assert numbers == [(1, 1), (1, 2), (1, 4), (1, 5)]


async def test_a_loss_that_may_have_been_the_first_shows_in_snapshot_and_heartbeat() -> None:
    async with hub_on(Store()) as hub:
        reader = Reader(hub, JSON_HONEST).want(trades=["AAPL", "IBM"])
        reader.socket.notices = reader.socket.notices._replace(heartbeat=heartbeat)
        bus().publish(TICKS, batch(trade(n=7)))
        bus().publish(TICKS, batch(number=3))  # the second was lost
        await reader.has(3)
        await hub.beat()
        told = (*reader.heard[1:3], (await reader.has(4))[-1])

    assert {each["S"]: each["amendments"] for each in told[:2]} == {"AAPL": [1, 1], "IBM": [1, 1]}
    assert told[2]["amendments"] == {"AAPL": [1, 1], "IBM": [1, 1]}


async def test_a_heartbeat_names_the_last_of_each_symbol_that_was_told() -> None:
    async with hub_on(Store()) as hub:
        reader = Reader(hub, JSON_HONEST).want(trades=["AAPL"])
        reader.socket.notices = reader.socket.notices._replace(heartbeat=heartbeat)
        told = (cancellation(trade(n=6)), cancellation(trade("IBM")), cancellation(trade(n=7)))
        bus().publish(TICKS, batch()._replace(amendments=told))
        await reader.has(2)
        await hub.beat()
        await hub.beat()
        first, second = (await reader.has(4))[2:]

    assert first["amendments"] == {"AAPL": [1, 2]}
    assert "amendments" not in second


async def test_what_nobody_was_left_to_hear_is_not_told_to_the_next_one() -> None:
    async with hub_on(Store()) as hub:
        first = Reader(hub).want(trades=["AAPL"])
        hub._news.note_amendments([cancellation(trade(n=7))])
        hub.leave(first.socket)

        second = Reader(hub).want(trades=["AAPL"])
        bus().publish(TICKS, batch(trade(n=8))._replace(amendments=(cancellation(trade(n=8)),)))
        await second.has(2)

    assert [each["T"] for each in second.heard] == ["t", "x"]


def test_the_bus_carries_them_whole() -> None:
    was = trade(n=7, conditions=("@",))
    amendments = (
        *told(was, correction(was, size=1), *twice_corrected(was)),
        *told(was, cancellation(was), before=trade(n=5)),
    )
    message = batch(was, quote())._replace(amendments=amendments)

    _, _, heard = unpack(pack("me", 1, message))

    assert heard == message
    assert {type(each) for each in heard.amendments} == {Amendment}
    assert type(heard.amendments[0].corrected) is type(heard.amendments[0].last) is Trade
    assert heard.amendments[-1].last.rank == (1, 7, 1)


prices = st.integers(1, 10**9)
letters = st.lists(st.sampled_from("@FITO6Q"), unique=True).map(tuple)


@given(price=prices, size=st.integers(0, 10**7), conditions=letters, priced=st.booleans())
def test_a_correction_arrives_as_it_was_sent(price, size, conditions, priced) -> None:
    was = trade(n=7)
    now = corrected(was, price=price, size=size, conditions=conditions, sets_price=priced)
    number = trade(n=1)  # as good as any

    heard = read_revision(
        "AAPL", said(MSGPACK_HONEST.amendment(Amendment("AAPL", NOW, was, now), number))
    )

    assert heard.corrected == now._replace(at_us=NOW, sequence=0, epoch=0, amended="")
    assert (heard.of, heard.name) == (
        ("AAPL", "V", trade_id(was)),
        ("AAPL", "V", trade_id(now)),
    )
    assert (heard.symbol, heard.at_us) == ("AAPL", NOW)


def test_a_cancellation_of_the_service_arrives_with_its_action() -> None:
    message = said(MSGPACK.amendment(cancellation(trade(n=7))._replace(action="E"), trade()))

    heard = read_revision("AAPL", message)

    assert heard == Revision("AAPL", NOW, ("AAPL", "V", trade_id(trade(n=7))), None, None, "E")


# --- by name --------------------------------------------------------------------------------------


def test_a_trade_may_be_corrected_more_than_once_and_then_canceled() -> None:
    tape = Tape()
    tape.print("first", trade(n=7))

    [one] = tape.amend([Revision("AAPL", NOW, "first", trade(n=9, price=1), "second", "")])
    [two] = tape.amend([Revision("AAPL", NOW, "second", trade(n=9, price=2), "third", "")])
    [gone] = tape.amend([Revision("AAPL", NOW, "third", None, None, "C")])

    assert one.original == trade(n=7)
    assert one.corrected == corrected(trade(n=7), price=1)
    assert two.original == one.corrected
    assert two.corrected is not None
    assert (two.corrected.price, two.corrected.sequence) == (2, CORRECTED_FROM + 1)
    assert (gone.original, gone.corrected) == (two.corrected, None)


def test_what_is_said_before_the_print_waits_for_it_but_not_for_ever() -> None:
    now = 0.0
    tape = Tape(monotonic=lambda: now)
    early = Revision("AAPL", NOW, "first", None, None, "C")
    never = Revision("AAPL", NOW, "nobody's", None, None, "C")
    assert tape.amend([early, never]) == []

    tape.print("first", trade(n=7))
    now = PATIENCE_SECONDS

    assert [each.original for each in tape.amend([])] == [trade(n=7)]
    assert tape._waiting == []


# --- in the history -------------------------------------------------------------------------------


@pytest.mark.django_db
def test_the_history_says_what_became_of_a_trade() -> None:
    forget_instruments()
    ids = history.enlist([InstrumentSpec("AAPL")])
    prints = [trade(n=n) for n in (1, 2, 3)]
    amendments = [correction(prints[0], price=494_000), cancellation(prints[1])]

    store.insert([*prints, *amendments], ids)
    store.insert([*prints, *amendments], ids)  # once more does no harm

    found = store.page(store.TRADES, ["AAPL"], 0, NOW, limit=10).ticks
    assert [each.amended for each in found] == [INCORRECT, CORRECTED, CANCELED, ""]
    assert [trade_item(each, rfc3339).get("u") for each in found] == [
        INCORRECT, CORRECTED, CANCELED, None,
    ]  # fmt: skip
    assert found[1] == amendments[0].corrected


# --- the whole way --------------------------------------------------------------------------------


@pytest.fixture
async def hub(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Hub]:
    monkeypatch.setattr(latest, "_store", LocalStore())
    async with hub_on(Store()) as hub:
        yield hub


def market_of(feed: AlpacaFeed) -> Ingest:
    at_us = time.time_ns() // 1_000
    row = MarketClock(
        mode=feed.mode, source=feed.source, opened_us=at_us, watermark_us=at_us,
        reserved_us=at_us, updated_at=datetime.now(UTC),
    )  # fmt: skip
    clock = Clock()
    clock.follow(row)
    return Ingest(feed, row, clock, bus(), epoch=5)


async def test_what_an_upstream_takes_back_reaches_our_own_clients(hub: Hub) -> None:
    prints = [trade(n=n, epoch=9) for n in (4, 5)]
    told = [correction(prints[0], price=494_000), cancellation(prints[1])]
    frames = frames_of(prints)
    for number, each in enumerate(told, start=1):
        [(_, payload)] = unframed(MSGPACK_HONEST.amendment(each, trade(n=number)))
        frames.append(payload)
    reader = Reader(hub).want(trades=["AAPL"])

    with upstream(lambda attempt: frames) as playing:
        feed = await asyncio.to_thread(AlpacaFeed, Upstream(playing.url, "KEY", "secret"), ["AAPL"])
        try:
            ingest = market_of(feed)

            async def has_told_all() -> bool:
                await ingest.run_once()
                return len(reader.heard) >= 4

            await until(has_told_all, "what was said")
        finally:
            await asyncio.to_thread(feed.close)

    printed, amended = reader.heard[:2], {each["T"]: each for each in reader.heard[2:]}
    ids = [each["i"] for each in printed]
    assert ids == [5 << 32 | 1, 5 << 32 | 2]
    assert (amended["c"]["oi"], amended["c"]["cp"]) == (ids[0], 49.4)
    assert amended["c"]["ci"] not in ids
    assert amended["x"]["i"] == ids[1]
    known = latest.store().get_many(["AAPL"])["AAPL"]
    assert isinstance(known, Latest)
    assert known.trade is not None
    assert (known.trade.sequence, known.trade.price) == (1, 494_000)
    assert known.trade.rank[:2] == (5, 2)
    assert ingest.heard.trades["AAPL"] == known.trade
