"""Whatever gets lost, repeated or reordered on the way, an honest client is right or knows better.

Feed, store and both ways of the stream are in one process here and time is turned by hand, so that
thousands of accidents take seconds; `tests/faults` does the same to real connections.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from quotes.amounts import PRICE_UNIT
from quotes.feeds.alpaca_wire import Revision
from quotes.feeds.tape import Tape
from quotes.last_prices import LastPrices
from quotes.latest import Latest
from quotes.streaming import heart, resync
from quotes.streaming import hub as hub_module
from quotes.streaming.audience import Channel
from quotes.streaming.bulletins import heartbeat
from quotes.streaming.bus import CONTROL, bus
from quotes.streaming.codec import JSON_HONEST, trade_id, unframed
from quotes.streaming.hub import Hub
from quotes.ticks import Amendment, Batch, Place, Quote, Rank, Trade
from tests.quotes.honest_client import (
    HEARTBEAT_SECONDS,
    LATE_SECONDS,
    NO_PRICE,
    NOWHERE,
    HonestClient,
)
from tests.quotes.hub_readers import TICKS, Q, Reader, Store, T, hub_on
from tests.streams import quote, trade

SYMBOLS = ["AAPL", "IBM", "QUIET"]
BATCH_SECONDS = 0.25
BATCHES_PER_BEAT = round(HEARTBEAT_SECONDS / BATCH_SECONDS)
BEATS, BEATS_TO_HEAL = 6, 4
TURNS = 12  # of the loop, in which a batch reaches the wire
REMEMBERED = 2  # prices of a symbol: fewer than may be canceled one after the other


@dataclass(frozen=True)
class Faults:
    """How likely each accident is, per message."""

    bus: float = 0.0
    wire: float = 0.0
    mute: float = 0.0  # that nothing at all gets through for a while, per heartbeat and way
    store: float = 0.0  # that the store takes nothing for a while, per heartbeat
    takeover: float = 0.0  # that another feed begins, per batch
    halts: float = 0.0  # that a symbol is halted, or resumed, per batch


class Chaos:
    """A way that loses, repeats and reorders what is sent on it."""

    def __init__(self, chance: random.Random, rate: float) -> None:
        self.chance = chance
        self.rate = rate
        self.muted = False
        self._late: list[Any] = []

    def through(self, messages: list[Any]) -> Iterator[Any]:
        for message in messages:
            late, self._late = self._late, []
            fault = self.chance.choice(["drop", "repeat", "delay"])
            if self.muted or self.chance.random() >= self.rate:
                fault = ""
            if fault == "delay":
                self._late.append(message)
            elif fault != "drop" and not self.muted:
                yield message
                if fault == "repeat":
                    yield message
            if not self.muted:
                yield from late


class Feed:
    """Makes ticks, stores them, and publishes them: in this order, as ingest does."""

    def __init__(self, chance: random.Random, store: Store, way: Chaos) -> None:
        self.chance = chance
        self.store = store
        self.store.come_to = None  # it has been told nothing yet
        self.way = way
        self.place = Place(1, 0)
        self.latest = {symbol: Latest() for symbol in SYMBOLS}
        self.sequences: dict[tuple[type, str], int] = {}
        self.tape = Tape()
        # By id, as they are now; and those of this epoch of which nothing was said yet.
        self.prints: dict[str, dict[int, float | None]] = {symbol: {} for symbol in SYMBOLS}
        self.recent: dict[str, list[Trade]] = {symbol: [] for symbol in SYMBOLS}
        # Those that set the price, as they are now: as many as the feed remembers.
        self.priced: dict[str, list[Trade]] = {symbol: [] for symbol in SYMBOLS}
        self.last_prices = LastPrices(self._newest_price)
        self.said: dict[tuple[str, Rank], float | None] = {}  # by its rank, whatever was a price
        self.stores = True
        self.all_trade = False  # in the next batch

    def run_once(self) -> None:
        self.place = Place(self.place.epoch, self.place.number + 1)
        ticks, amendments = tuple(self._ticks()), tuple(self._amendments())
        if self.stores:
            self.store.holds, self.store.come_to = dict(self.latest), self.place
        batch = Batch(ticks, 0, *self.place, amendments)
        for each in self.way.through([batch]):
            bus().publish(TICKS, each)

    def take_over(self) -> None:
        self.place = Place(self.place.epoch + 1, 0)
        self.sequences = {}
        self.recent = {symbol: [] for symbol in SYMBOLS}

    def _ticks(self) -> Iterator[Quote | Trade]:
        all_trade, self.all_trade = self.all_trade, False
        for symbol in SYMBOLS[:2] if self.chance.random() < 0.95 and not all_trade else SYMBOLS:
            if self.chance.random() < 0.5:
                yield self._note(quote(symbol, n=self._next(Quote, symbol), epoch=self.place.epoch))
            for _ in range(max(self.chance.randrange(3), all_trade)):
                n, priced = self._next(Trade, symbol), self.chance.random() < 0.7
                yield self._note(trade(symbol, n=n, epoch=self.place.epoch, sets_price=priced))

    def _amendments(self) -> Iterator[Amendment]:
        """Some last prints of this epoch turn out wrong, and some of those before; each once."""
        for symbol, prints in self.recent.items():
            if not prints or self.chance.random() >= 0.2:
                continue
            was = prints.pop(
                -1 if self.chance.random() < 0.5 else self.chance.randrange(len(prints))
            )
            right = was._replace(price=was.price + 100) if self.chance.random() < 0.7 else None
            self.tape.print("it", was)
            told = self.tape.amend([Revision(symbol, 0, "it", right, "it, anew", "C")])
            self._amend_price(symbol, was, right)
            [amendment] = self.last_prices.amend(told)
            if amendment.last is not None:
                self._note_price(amendment.last)
            self.prints[symbol][trade_id(was)] = right and right.price / PRICE_UNIT
            yield amendment

    def _amend_price(self, symbol: str, was: Trade, right: Trade | None) -> None:
        self.priced[symbol] = [
            *(each for each in self.priced[symbol] if each.rank != was.rank),
            *([right] if right and right.sets_price else []),
        ]

    def _newest_price(self, symbol: str) -> Trade | None:
        return max(self.priced[symbol], key=lambda trade: trade.rank, default=None)

    def _note_price(self, trade: Trade) -> None:
        self.latest[trade.symbol] = Latest(self.latest[trade.symbol].quote, trade)
        price = None if trade.is_canceled else trade.price / PRICE_UNIT
        self.said[trade.symbol, trade.rank] = price

    def _next(self, kind: type, symbol: str) -> int:
        self.sequences[kind, symbol] = self.sequences.get((kind, symbol), 0) + 1
        return self.sequences[kind, symbol]

    def _note(self, tick: Quote | Trade) -> Quote | Trade:
        known = self.latest[tick.symbol]
        if isinstance(tick, Quote):
            self.latest[tick.symbol] = Latest(tick, known.trade)
            return tick
        if tick.sets_price:
            self.last_prices.hear({tick.symbol: tick})
            self.priced[tick.symbol] = [*self.priced[tick.symbol], tick][-REMEMBERED:]
            self._note_price(tick)
        self.prints[tick.symbol][trade_id(tick)] = tick.price / PRICE_UNIT
        self.recent[tick.symbol].append(tick)
        return tick

    def truth(self) -> dict[str, tuple[Any, Any]]:
        """The (epoch, number) of each symbol's newest quote, and the rank of its last price."""
        return {
            symbol: (
                (known.quote.epoch, known.quote.sequence) if known.quote else NOWHERE,
                known.trade.rank if known.trade else NO_PRICE,
            )
            for symbol, known in self.latest.items()
        }

    def tapes(self) -> dict[str, dict[int, float | None]]:
        """Every print of each symbol, as it is now."""
        return {symbol: dict(prints) for symbol, prints in self.prints.items()}

    def prices(self) -> dict[str, float | None]:
        """The last price of each symbol, as the tape is now."""
        ranks = {symbol: rank for symbol, (_, rank) in self.truth().items()}
        return {symbol: self.said.get((symbol, rank)) for symbol, rank in ranks.items()}


class Stage:
    """One feed, one hub, one client, and the clock."""

    def __init__(self, hub: Hub, store: Store, seed: int, faults: Faults) -> None:
        self.hub = hub
        self.chance = random.Random(seed)
        self.faults = faults
        self.now = 0.0
        self.feed = Feed(self.chance, store, Chaos(self.chance, faults.bus))
        self.wire = Chaos(self.chance, faults.wire)
        self.reader = Reader(hub, JSON_HONEST)
        self.reader.socket.notices = self.reader.socket.notices._replace(heartbeat=heartbeat)
        self.client = HonestClient(SYMBOLS)
        self.told_at_last_beat = self.feed.truth()
        self.store = store  # and the halts that it holds
        self.halts: dict[str, set[bool]] = {}  # symbol → whether it was halted since the last beat
        self.trusted = 0

    async def subscribe(self) -> None:
        wants = {Q: SYMBOLS, T: SYMBOLS, Channel.STATUSES: SYMBOLS}
        standing = await self.hub.want_from_here(self.reader.socket, wants)
        self.hub.snapshot(self.reader.socket, standing)
        self.hub._tick_mail.flag_missed()  # as a bus does where a topic begins to flow
        await self.carry()

    async def run(self, beats: int) -> None:
        for _ in range(beats):
            self._draw_outages()
            told, tapes = self.feed.truth(), self.feed.tapes()
            self.halts = {symbol: {symbol in self.store.halts} for symbol in SYMBOLS}
            for _ in range(BATCHES_PER_BEAT):
                if self.chance.random() < self.faults.takeover:
                    self.feed.take_over()
                if self.faults.halts:
                    self._halt_some()
                self.feed.run_once()
                self.now += BATCH_SECONDS
                for _ in range(TURNS):
                    await asyncio.sleep(0)
                await self.carry()
            await self.hub.beat()
            await self.carry()
            self.check(told)
            self.check_tapes(tapes)

    def _halt_some(self) -> None:
        """News of a halt, or of its end; where the bus loses them, it tells that it did."""
        for symbol in SYMBOLS:
            if self.chance.random() >= self.faults.halts:
                continue
            begins = self.store.halts.pop(symbol, None) is None
            if begins:
                self.store.halts[symbol] = "news"
            self.halts[symbol].add(begins)
            if self.chance.random() < self.faults.bus:
                self.hub._news_mail.flag_missed()
                continue
            news = {"kind": "halt", "reason": "news"} if begins else {"kind": "resume"}
            bus().publish(CONTROL, {**news, "symbol": symbol})

    def heal(self) -> None:
        """No more accidents. Trades that set no price and were lost show with the next trade."""
        self.feed.all_trade = True
        self.faults = Faults()
        self.feed.way.rate = self.wire.rate = 0.0

    def _draw_outages(self) -> None:
        self.feed.way.muted = self.chance.random() < self.faults.mute
        self.wire.muted = self.chance.random() < self.faults.mute
        self.feed.stores = self.chance.random() >= self.faults.store

    async def carry(self) -> None:
        """Bring the client what was written, and its requests to the hub."""
        wire = self.reader.wire
        frames, wire.written = wire.written, b""
        messages = [json.loads(payload)[0] for _, payload in unframed(frames)]
        for message in self.wire.through(messages):
            request = self.client.hear(message, self.now)
            if request is not None and self.chance.random() >= self.faults.wire:
                await self.hub.resync(self.reader.socket, request["id"])

    def check(self, told: dict[str, tuple[Any, Any]]) -> None:
        """What the client trusts once this heartbeat has come, or is overdue, is no older than the
        one before, and nothing that never was."""
        truth = self.feed.truth()
        for symbol in SYMBOLS:
            if self.client.trusts(symbol, self.now + LATE_SECONDS + BATCH_SECONDS):
                self.trusted += 1
                held = self.client.quotes[symbol], self.client.prices[symbol]
                assert told[symbol][0] <= held[0] <= truth[symbol][0], symbol
                assert told[symbol][1] <= held[1] <= truth[symbol][1], symbol
                said = self.feed.said.get((symbol, held[1]))
                assert self.client.price(symbol) == said, symbol
                assert self.client.halted[symbol] in self.halts[symbol], symbol

    def check_tapes(self, stood: dict[str, dict[int, float | None]]) -> None:
        """Every print that the client heard and trusts is as it was at the last heartbeat, or as it
        is now; where it knows of a hole it reads the history."""
        stands = self.feed.tapes()
        for symbol in SYMBOLS:
            if not self.client.trusts(symbol, self.now + LATE_SECONDS + BATCH_SECONDS):
                continue
            if symbol in self.client.holes:
                self.client.read_history(symbol, stands[symbol])
                continue
            for id, price in self.client.tape(symbol).items():
                was = stood[symbol].get(id, self.client.prints[symbol][id])
                assert price in (was, stands[symbol][id]), (symbol, id)


@pytest.fixture(autouse=True)
def by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heart, "HEARTBEAT_SECONDS", 1_000.0)
    monkeypatch.setattr(resync, "RETRY_SECONDS", 0.0)


async def play(seed: int, faults: Faults, *, beats: int = BEATS) -> Stage:
    store = Store()
    async with hub_on(store) as hub:
        stage = Stage(hub, store, seed, faults)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(hub_module, "time", SimpleNamespace(monotonic=lambda: stage.now))
            await stage.subscribe()
            await stage.run(beats)
            stage.heal()
            await stage.run(BEATS_TO_HEAL)
        return stage


FIXTURE = [HealthCheck.function_scoped_fixture]  # the same for every example
rates = st.sampled_from([0.0, 0.05, 0.3])
accidents = st.builds(
    Faults, bus=rates, wire=rates, mute=rates, store=rates, takeover=rates, halts=rates
)


def assert_healed(stage: Stage) -> None:
    """Without further accidents the client knows everything, and trusts it."""
    for symbol in SYMBOLS:
        assert stage.client.trusts(symbol, stage.now), symbol
        held = stage.client.quotes[symbol], stage.client.prices[symbol]
        assert held == stage.feed.truth()[symbol]
        assert stage.client.price(symbol) == stage.feed.prices()[symbol]
        assert stage.client.halted[symbol] == (symbol in stage.store.halts)
        tape = stage.client.tape(symbol)
        assert tape.items() <= stage.feed.tapes()[symbol].items()


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@example(1036866, Faults(mute=0.05, takeover=0.05))  # what the store told of was canceled unheard
@example(797, Faults(wire=0.3, mute=0.05))  # a heartbeat was lost, and with it what it named
@example(1457, Faults(wire=0.3))  # a lost correction shows by the number of the next one only
@example(460, Faults(wire=0.3, halts=0.05))  # a lost halt shows by what the heartbeat names only
@example(833, Faults(bus=0.3, wire=0.1, halts=0.3))  # a status overtook the snapshot before it
@given(st.integers(0, 2**32), accidents)
def test_a_client_is_right_or_knows_better_and_heals(seed: int, faults: Faults) -> None:
    assert_healed(asyncio.run(play(seed, faults)))


@pytest.mark.long
@settings(
    max_examples=3_000, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.integers(0, 2**32), accidents)
def test_a_client_is_right_or_knows_better_through_thousands_of_accidents(
    seed: int, faults: Faults
) -> None:
    assert_healed(asyncio.run(play(seed, faults)))


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.integers(0, 2**32))
def test_without_accidents_everything_is_trusted_and_nobody_asks_again(seed: int) -> None:
    """Snapshot and stream are the fresh state, from the first heartbeat on."""
    stage = asyncio.run(play(seed, Faults(halts=0.1)))

    assert stage.trusted == len(SYMBOLS) * (BEATS + BEATS_TO_HEAL)
    assert stage.client.requests == 0
    assert_healed(stage)
