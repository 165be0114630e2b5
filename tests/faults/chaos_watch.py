"""What chaos is watched with: a feed that knows what it said, an honest client, and its judge."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from django.conf import settings
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from quotes.amounts import PRICE_UNIT
from quotes.feeds.alpaca_wire import Revision
from quotes.feeds.tape import Tape
from quotes.last_prices import LastPrices
from quotes.latest import Latest
from quotes.streaming.bus import CONTROL, NUMBERED, TICK_TOPICS
from quotes.streaming.bus.numbers import MARK_SECONDS
from quotes.ticks import CORRECTED, Amendment, Batch, Place, Quote, Rank, Trade
from tests.faults.chaos_floor import BATCH_SECONDS, HEARTBEAT_SECONDS, SILENT_SECONDS, SYMBOLS
from tests.quotes.honest_client import NO_PRICE, NOWHERE, HonestClient
from tests.streams import quote, trade

# What a machine that is busy with other tests may add to a heartbeat. Less than another heartbeat:
# else a client would not notice that it lost one, and with it what that named.
SLACK_SECONDS = 0.9
PATIENCE_SECONDS = HEARTBEAT_SECONDS + SLACK_SECONDS  # of a client
# How old the newest may be that is trusted: a server that hears nothing says so when it has been
# silent for so long, and where that is lost the client has run out of patience.
TRUSTED_SECONDS_MAX = PATIENCE_SECONDS + SILENT_SECONDS
# News of a halt that is lost shows by the next news or by a mark, of which some are lost, too.
HALT_TRUSTED_SECONDS_MAX = TRUSTED_SECONDS_MAX + 3 * MARK_SECONDS
JUDGE_SECONDS = 0.02
HEALED_SECONDS_MAX = 60.0  # what is trusted meanwhile, the judge bounds
AUTH = {"action": "auth", "key": "KEY", "secret": "secret"}
SUBSCRIBE = {"action": "subscribe", "quotes": SYMBOLS, "trades": SYMBOLS, "statuses": SYMBOLS}


class Said(NamedTuple):
    """The (epoch, number) of a symbol's newest quote, the rank of its last price, and whether it is
    halted."""

    quote: tuple[int, int]
    price: Rank
    is_halted: bool


def said_of(quote: Quote | None, trade: Trade | None, is_halted: bool) -> Said:
    place = (quote.epoch, quote.sequence) if quote else NOWHERE
    return Said(place, trade.rank if trade else NO_PRICE, is_halted)


class Feed:
    """Stores and publishes ticks on the real Redis, and remembers when it said what.

    Now and then it halts a symbol or ends that, and notes which are halted in a file: where a hub
    has a database, the news of it come by the bus.
    """

    def __init__(self, halts: Path) -> None:
        from quotes.latest.redis import RedisStore
        from quotes.streaming.bus.redis import RedisBus

        self.chance = random.Random(7)
        self.store, self.bus = (
            RedisStore(settings.REDIS_URL),
            RedisBus(settings.REDIS_URL, NUMBERED),
        )
        self.store.clear()
        self.halts, self.halted = halts, dict[str, str]()  # symbol → reason
        self._note_halts()
        self.place = Place(1, 0)
        self.latest = dict.fromkeys(SYMBOLS, Latest())
        self.tape = Tape()
        self.numbers = dict.fromkeys(SYMBOLS, 0)  # of the last print
        self.priced: dict[str, list[Trade]] = {symbol: [] for symbol in SYMBOLS}  # as they are now
        self.last_prices = LastPrices(lambda symbol: (self.priced[symbol] or [None])[-1])
        self.prices: dict[tuple[str, Rank], float | None] = {}  # whatever was said, by its rank
        self.quiet_speaks: bool | None = None  # once more, and then not again; None: now and then
        self.said = deque([(time.monotonic(), self.truth())], maxlen=1_000)

    async def run(self) -> None:
        while True:
            await asyncio.to_thread(self.run_once)
            await asyncio.sleep(BATCH_SECONDS)

    def run_once(self) -> None:
        self.place = Place(1, self.place.number + 1)
        ticks = [tick for symbol in SYMBOLS for tick in self._ticks(symbol)]
        amendments = tuple(self._amendments())
        last = [each.last for each in amendments if each.last]
        self.store.put_many([*ticks, *last], self.place)
        self.bus.publish(TICK_TOPICS[0], Batch(tuple(ticks), 0, *self.place, amendments))
        self._halt_some()
        self.said.append((time.monotonic(), self.truth()))

    def _halt_some(self) -> None:
        """QUIET begins and ends a halt when it speaks: of what is lost, no later news tell."""
        for symbol in SYMBOLS:
            bid = self.latest[symbol].quote
            if symbol == "QUIET":
                turns = (bid is not None and bid.sequence % 2 == 1) != (symbol in self.halted)
            else:
                turns = self.chance.random() < 0.05
            if turns:
                self._halt_or_resume(symbol)

    def _halt_or_resume(self, symbol: str) -> None:
        """As `quotes.halts` does: first it is so, then it is told."""
        news = {"kind": "resume", "instrument_id": 1, "symbol": symbol}
        if self.halted.pop(symbol, None) is None:
            self.halted[symbol] = "news"
            news |= {"kind": "halt", "reason": "news"}
        self._note_halts()
        self.bus.publish(CONTROL, news)

    def _note_halts(self) -> None:
        new = self.halts.with_suffix(".new")
        new.write_text(json.dumps(self.halted))
        new.replace(self.halts)

    def _ticks(self, symbol: str) -> Iterator[Quote | Trade]:
        """QUIET speaks rarely: what it loses, no later tick makes good."""
        speaks = self.chance.random() < (0.05 if symbol == "QUIET" else 0.7)
        if symbol == "QUIET" and self.quiet_speaks is not None:
            speaks, self.quiet_speaks = self.quiet_speaks, False
        if not speaks:
            return
        bid = self.latest[symbol].quote
        newer = quote(symbol, n=bid.sequence + 1 if bid else 1)
        self.numbers[symbol] += 1
        print_ = trade(symbol, n=self.numbers[symbol])
        self.last_prices.hear({symbol: print_})
        self.priced[symbol].append(print_)
        self._stand(newer, print_)
        yield from (newer, print_)

    def _stand(self, quote: Quote | None, last: Trade) -> None:
        self.latest[last.symbol] = Latest(quote, last)
        price = None if last.is_canceled else last.price / PRICE_UNIT
        self.prices[last.symbol, last.rank] = price

    def _amendments(self) -> Iterator[Amendment]:
        """Some last prices turn out wrong, each once, and some never were."""
        for symbol, (bid, last) in self.latest.items():
            if last is None or last.amended or self.chance.random() > 0.1:
                continue
            was = self.priced[symbol].pop()
            right = was._replace(price=was.price + 100) if self.chance.random() < 0.5 else None
            self.priced[symbol] += [right._replace(amended=CORRECTED)] if right else []
            self.tape.print("it", was)
            told = self.tape.amend([Revision(symbol, 0, "it", right, "it, anew", "")])
            [amendment] = self.last_prices.amend(told)
            assert amendment.last is not None
            self._stand(bid, amendment.last)
            yield amendment

    def truth(self) -> dict[str, Said]:
        return {
            symbol: said_of(*known, symbol in self.halted) for symbol, known in self.latest.items()
        }

    def said_until(self, at: float) -> dict[str, Said]:
        """The newest of each symbol at an instant."""
        return next((truth for when, truth in reversed(self.said) if when <= at), self.said[0][1])

    def halts_since(self, at: float) -> dict[str, set[bool]]:
        """Whether each symbol was halted at an instant and ever after: one answer, or both."""
        said = [truth for when, truth in tuple(self.said) if when > at]
        truths = [self.said_until(at), *said, self.truth()]
        return {symbol: {truth[symbol].is_halted for truth in truths} for symbol in SYMBOLS}

    def close(self) -> None:
        self.bus.close()
        self.store.clear()


class Watcher:
    """An honest client over a real socket, and the judge of what it trusts."""

    def __init__(self, feed: Feed, port: int) -> None:
        self.feed = feed
        self.address = f"ws://127.0.0.1:{port}/v2/iex?honest=1"
        self.client = self._new()
        self.judged = self.trusted = self.flagged = 0
        self.longest_stall = 0.0  # of this process, and so of feed, proxies and client

    def _new(self) -> HonestClient:
        return HonestClient(SYMBOLS, time.monotonic(), PATIENCE_SECONDS)

    async def run(self) -> None:
        """Connect again and again."""
        while True:
            with suppress(WebSocketException, OSError, TimeoutError):
                async with connect(
                    self.address, compression=None, open_timeout=2, close_timeout=0.2
                ) as socket:
                    self.client = self._new()
                    await self._listen(socket)
            self.client = self._new()
            await asyncio.sleep(0.1)

    async def _listen(self, socket: ClientConnection) -> None:
        await socket.send(json.dumps(AUTH))
        await socket.send(json.dumps(SUBSCRIBE))
        async for frame in socket:
            for message in json.loads(frame):
                request = self.client.hear(message, time.monotonic())
                if request is not None:
                    await socket.send(json.dumps(request))

    async def judge(self) -> None:
        """At every moment, what is trusted was the newest a moment ago."""
        while True:
            at = time.monotonic()
            await asyncio.sleep(JUDGE_SECONDS)
            self.longest_stall = max(self.longest_stall, time.monotonic() - at - JUDGE_SECONDS)
            self.judge_once()

    def judge_once(self) -> None:
        now = time.monotonic()
        before = self.feed.said_until(now - TRUSTED_SECONDS_MAX - self.longest_stall)
        halts = self.feed.halts_since(now - HALT_TRUSTED_SECONDS_MAX - self.longest_stall)
        for symbol in SYMBOLS:
            self.judged += 1
            if not self.client.trusts(symbol, now):
                self.flagged += 1
                continue
            self.trusted += 1
            quote, rank = self.client.quotes[symbol], self.client.prices[symbol]
            assert before[symbol].quote <= quote, f"{symbol}: an old quote is trusted"
            assert before[symbol].price <= rank, f"{symbol}: an old price is trusted"
            assert self.has_price_of(rank, symbol), f"{symbol}: a wrong price is trusted"
            assert self.client.halted[symbol] in halts[symbol], f"{symbol}: an old halt is trusted"

    def has_price_of(self, rank: Rank, symbol: str) -> bool:
        return self.client.price(symbol) == self.feed.prices.get((symbol, rank))

    def is_whole(self) -> bool:
        """Everything is trusted, and is what the feed said a moment ago."""
        now = time.monotonic()
        at = now - SLACK_SECONDS / 2
        said, halts = self.feed.said_until(at), self.feed.halts_since(at)
        return all(
            self.client.trusts(symbol, now)
            and said[symbol].quote <= self.client.quotes[symbol]
            and said[symbol].price <= self.client.prices[symbol]
            and self.has_price_of(self.client.prices[symbol], symbol)
            and self.client.halted[symbol] in halts[symbol]
            for symbol in SYMBOLS
        )

    def trusts_nothing(self) -> bool:
        now = time.monotonic()
        return not any(self.client.trusts(symbol, now) for symbol in SYMBOLS)

    async def until(self, holds: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + HEALED_SECONDS_MAX
        while not holds():
            assert time.monotonic() < deadline, f"waited in vain until {what}"
            await asyncio.sleep(0.02)
