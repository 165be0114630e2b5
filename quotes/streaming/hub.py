"""The hub: what the bus brings, to every socket of this process that wants it.

One per event loop. It hears only the topics that somebody here wants, encodes a message once per
codec and only when somebody wants it, and hands the same bytes to every socket; what one batch has
for a socket is one write. Nothing in here waits for a socket. Plain asyncio: who the sockets are
and what they may ask is the consumers' business.

A tick that is not newer than the last one of its symbol is dropped, and so is a batch of an older
feed epoch. When batches were lost, the newest quotes are taken from the store (`quotes.latest`),
until the store is known to have come far enough (`resync`); so long, heartbeats say so.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter as Tally
from collections.abc import Callable, Collection, Iterable, Mapping, Set
from typing import Any
from weakref import WeakKeyDictionary

from django.conf import settings
from prometheus_client import Counter, Gauge

from quotes.streaming.audience import (
    STOOD_FOR,
    Audience,
    Channel,
    Wants,
    newly_wanted,
    reduced,
    told_of,
)
from quotes.streaming.bulletins import Bulletins
from quotes.streaming.bus import BARS, CONTROL, TICK_TOPICS, Subscription, bus, tick_topic
from quotes.streaming.codec import Codec
from quotes.streaming.fanout import Fanout
from quotes.streaming.halts import Halts
from quotes.streaming.heart import Heart
from quotes.streaming.market import LOOK_UP_MAX, LookUp, Market, StoredMarket
from quotes.streaming.news import News, topics_of
from quotes.streaming.resync import Resync
from quotes.streaming.socket import Socket
from quotes.streaming.standings import Arrival, Pulse, Standing, Standings, chunks
from quotes.streaming.turns import Turns
from quotes.ticks import Batch, Quote, Trade

log = logging.getLogger(__name__)

# Batches that may wait for a busy loop, some seconds' worth; the oldest are lost then, and noticed.
TICK_BATCHES_MAX = 2_000
# Bars, control and account news: rare, and each of them matters.
NEWS_MAX = 20_000
# A big batch is delivered in slices: a slow reader is found out before all was written to it, and
# between two of them the loop gets its turns.
SLICE_TICKS = 256
READ_TIMEOUT_SECONDS = 5.0
READY_TIMEOUT_SECONDS = 2.0

# What has to reach us for a heartbeat to be current; the streams of accounts judge for themselves.
MARKET_NEWS = (CONTROL, BARS)

REVOKED_CLOSE = 4401

SOCKETS = Gauge("openbell_stream_sockets", "Sockets open in this process.")
GAPS = Counter("openbell_stream_gaps_total", "Times the hub lost batches and resynced.")


# What closes sockets, and by which field of their credential.
CLOSES = {"key_revoked": "key_id", "user_disabled": "user_id", "account_reset": "account_id"}


class Hub:
    """All sockets of one event loop. Every method is called on that loop."""

    def __init__(self, market: Market, *, flush_seconds: float = 0.0) -> None:
        self.sockets: set[Socket] = set()
        self._flush_seconds = flush_seconds  # the least between two writes of ticks to a socket
        self._audiences = {channel: Audience() for channel in Channel}
        self._fanout = Fanout()
        self._standings = Standings()
        self._lookup = LookUp(market, self._standings, self.hearing)
        self._news = News(self._audiences, self._fanout, self._standings)
        self._users: Tally[str] = Tally()  # of each topic
        self._tasks: list[asyncio.Task[None]] = []
        self._resync = Resync(market.place, self._take_stock)
        self._halts = Halts(market.halted, self.hearing, self._news.tell_status)
        self._bulletins = Bulletins(self._fanout, self._standings, self._halts, self._news)
        self._heart = Heart(self.beat, self._greet)

    # --- sockets ----------------------------------------------------------------------------

    def join(self, socket: Socket) -> None:
        """Take a socket in; it hears nothing yet. Whoever joins leaves, whatever happens."""
        if not self._tasks:
            self._start()
        self.sockets.add(socket)
        self._heart.meet(socket)
        SOCKETS.inc()

    def leave(self, socket: Socket) -> None:
        """Forget a socket. Twice is harmless."""
        if socket not in self.sockets:
            return
        self.want(socket, {})
        self.sockets.discard(socket)
        self._heart.forget(socket)
        self._fanout.forget(socket)
        SOCKETS.dec()
        if not self.sockets:
            self._stop()

    def say(self, socket: Socket, *frames: bytes) -> None:
        """Send frames to one socket, after all it was sent before."""
        self._fanout.say(socket, *frames)

    def want(self, socket: Socket, wants: Wants) -> None:
        """From now on the socket gets exactly this."""
        for channel, audience in self._audiences.items():
            wanted = reduced(wants.get(channel, ()))
            had = socket.wants.get(channel, frozenset())
            for symbol in audience.add(socket, wanted - had):
                self.use(topics_of(channel, symbol))
            for symbol in audience.remove(socket, had - wanted):
                self.disuse(topics_of(channel, symbol))
            socket.wants[channel] = wanted

    async def want_from_here(self, socket: Socket, wants: Wants) -> dict[str, Standing]:
        """As `want`; also where each newly wanted symbol stands at the moment that takes effect.

        What the caller says before it awaits anything comes before the stream.
        """
        new = newly_wanted(socket, wants)
        topics = {topic for symbol in new for topic in topics_of(Channel.QUOTES, symbol)}
        self.use(topics)  # first hear, then look: what happens in between is not lost
        try:
            stored = await self._look_up(new)
            self.want(socket, wants)
        finally:
            self.disuse(topics)
        return self._lookup.standing(new, stored)

    async def resync(self, socket: Socket, id: int | None) -> None:
        """Tell the socket anew where everything stands that it is told the standing of.

        What cannot be looked up now comes in a later snapshot, which answers as well.
        """
        socket.resync = socket.resync if id is None else id
        wanted = told_of(socket)
        stored = await self._look_up(wanted)
        named = self._lookup.named(wanted, stored)
        await self._bulletins.tell(socket, named, stored, Turns(self._tick_mail))

    def count(self, symbols: Set[str]) -> int:
        """About how many symbols one is told of who asks where these stand."""
        return self._lookup.count(symbols)

    def snapshot(self, socket: Socket, standing: Mapping[str, Standing]) -> None:
        """Say where symbols stand."""
        for symbol, stands in standing.items():
            self._bulletins.snapshot([socket], symbol, stands)

    def revoke(self, socket: Socket) -> None:
        """Say that the credential no longer holds, and close."""
        self.say(socket, socket.notices.revoked)
        socket.close(REVOKED_CLOSE)

    def drain(self) -> None:
        """Tell honest sockets that this process is about to stop."""
        for socket in self.sockets:
            if socket.codec.honest:
                self.say(socket, socket.notices.shutdown)

    # --- the bus ----------------------------------------------------------------------------

    def listen(self, topic: str, hear: Callable[[Any], None]) -> None:
        """Call `hear` with each message on the topic; it must be quick. Needs a joined socket."""
        self._news.listeners.setdefault(topic, []).append(hear)
        self.use([topic])

    def unlisten(self, topic: str, hear: Callable[[Any], None]) -> None:
        """Call it no more."""
        self._news.listeners[topic].remove(hear)
        if not self._news.listeners[topic]:
            del self._news.listeners[topic]
        self.disuse([topic])

    async def hearing(self) -> bool:
        """Whether all topics that are used reach us; waits a little for it."""
        try:
            for subscription in (self._tick_mail, self._news_mail):
                await subscription.ready(READY_TIMEOUT_SECONDS)
        except TimeoutError:
            log.warning("the bus does not carry all topics yet; what is missed is resynced")
            return False
        return True

    def use(self, topics: Iterable[str]) -> None:
        """Hear the topics until they are disused as often."""
        for topic in topics:
            self._users[topic] += 1
            if self._users[topic] == 1:
                self._mail_of(topic).add([topic])

    def disuse(self, topics: Iterable[str]) -> None:
        for topic in topics:
            self._users[topic] -= 1
            if not self._users[topic]:
                del self._users[topic]
                self._mail_of(topic).discard([topic])
                self._standings.forget(topic)

    def _mail_of(self, topic: str) -> Subscription:
        return self._tick_mail if topic in TICK_TOPICS else self._news_mail

    def _start(self) -> None:
        self._tick_mail = bus().subscribe_here([], limit=TICK_BATCHES_MAX)
        self._news_mail = bus().subscribe([CONTROL], limit=NEWS_MAX)
        self._tasks = [
            asyncio.create_task(loop)
            for loop in (self._read_ticks(), self._read_news(), self._heart.beat_on())
        ]

    def _stop(self) -> None:
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        self._resync.stop()
        self._halts.stop()
        self._news.stop()
        self._fanout.stop()
        self._tick_mail.close()
        self._news_mail.close()

    # --- ticks --------------------------------------------------------------------------------

    async def _read_ticks(self) -> None:
        turns = Turns(self._tick_mail)
        while not self._tick_mail.closed:
            arrived = await turns.next(READ_TIMEOUT_SECONDS)
            if self._tick_mail.missed:
                self._tick_mail.missed = False
                self._lost()
            for ticks in chunks(self._heard(arrived), SLICE_TICKS):
                try:
                    self.deliver(ticks)
                except Exception:
                    log.exception("ticks were not delivered")
                    self._lost()
                if len(ticks) == SLICE_TICKS:
                    await turns.give()
            self._standings.told()
            self._news.amend()
            if self._flush_seconds:
                await asyncio.sleep(self._flush_seconds)
            else:
                await turns.gather()

    def _heard(self, arrived: Iterable[tuple[str, Batch]]) -> list[Quote | Trade]:
        """The ticks of all batches that are not of an older feed epoch."""
        now = time.monotonic()
        ticks: list[Quote | Trade] = []
        for topic, batch in arrived:
            try:
                arrival = self._standings.arrive(topic, batch, now)
            except Exception:
                log.exception("a message on %s is no batch", topic)
                continue
            if arrival is Arrival.AFTER_GAP:
                self._lost()
            if arrival in (Arrival.NEXT, Arrival.AFTER_GAP):
                self._resync.doubt.hear(batch)
            if arrival is not Arrival.OLD:
                ticks += batch.ticks
            if batch.amendments and arrival in (Arrival.NEXT, Arrival.AFTER_GAP):
                self._news.note_amendments(batch.amendments)
        return ticks

    def deliver(self, ticks: Iterable[Quote | Trade]) -> None:
        """Hand ticks to everyone who wants them, unless they are old."""
        quotes, trades = self._audiences[Channel.QUOTES], self._audiences[Channel.TRADES]
        newer = list(self._standings.newer(ticks))
        offer = self._fanout.offer if len(newer) > 1 else self._fanout.send
        for tick in newer:
            symbol = tick.symbol
            if isinstance(tick, Quote):
                offer(quotes, symbol, Codec.quote, tick, quote_of=symbol)
            else:
                offer(trades, symbol, Codec.trade, tick)
        self._fanout.flush()

    def _lost(self) -> None:
        GAPS.inc()
        self._news.skip_numbers_of_amendments()
        self._resync.lost()

    async def _take_stock(self) -> None:
        """Deliver the newest quotes from the store, and tell honest sockets where they stand.

        Trades that were lost stay lost, as their numbers show; a snapshot says from where on.
        """
        wanted = set[str]().union(*(self._audiences[each].of for each in STOOD_FOR))
        names = await self._lookup.names(wanted)
        try:
            await self._tell_anew(names)
        finally:
            for topic in {tick_topic(symbol) for symbol in names}:
                if not self._users[topic]:  # nobody hears it who wants statuses alone
                    self._standings.forget(topic)

    async def _tell_anew(self, names: set[str]) -> None:
        turns = Turns(self._tick_mail)
        for symbols in chunks(sorted(names), LOOK_UP_MAX):
            stored = await self._lookup.stored(symbols)
            self._standings.learn(stands.trade for stands in stored.values())
            newest = [stands.quote for stands in stored.values() if stands.quote]
            for some in chunks(newest, SLICE_TICKS):
                self.deliver(some)
                await turns.give()
            for symbol in symbols:
                await self._bulletins.tell_all(self._audiences, symbol, stored, turns)

    async def _look_up(self, wanted: set[str]) -> dict[str, Standing]:
        """What is stored of the wanted symbols and was not heard; nothing where the store fails.

        A resync tells of it then, as soon as that is possible.
        """
        if wanted:
            await self._halts.look()
        try:
            return await self._lookup.unheard(wanted)
        except Exception:
            log.exception("the store of latest quotes did not answer")
            self._lost()
            self._resync.owe()
            return {}

    # --- news and heartbeats ------------------------------------------------------------------

    async def _read_news(self) -> None:
        while not self._news_mail.closed:
            arrived = await self._news_mail.get_many(READ_TIMEOUT_SECONDS)
            if self._news_mail.missed:
                self._news_mail.missed = False
                self._news.skip_numbers()
                self._halts.miss()
            for topic, message in arrived:
                try:
                    if topic == CONTROL:
                        self._obey(message)
                        self._halts.hear(message)
                    self._news.hear(topic, message)
                except Exception:
                    log.exception("a message on %s was not delivered", topic)
            await asyncio.sleep(0)

    def _obey(self, message: Mapping[str, Any]) -> None:
        """Close the sockets of a key or a user that was shut out, or whose account is another."""
        named = CLOSES.get(message["kind"])
        if named is None:
            return
        for socket in self.sockets:
            if getattr(socket.credential, named, None) == message[named]:
                self.revoke(socket)

    async def beat(self) -> None:
        """Tell each honest socket how many messages it was sent and what is new since the last."""
        changed = {**self._standings.take_changed(), **self._news.take_changed()}
        await self._bulletins.beat(self.sockets, changed, self._pulse, Turns(self._tick_mail))

    async def _greet(self, newcomers: Collection[Socket]) -> None:
        """Tell those who came since the last heartbeat that all is live, if it is."""
        if self._pulse().current:
            changed = {**self._standings.changed(), **self._news.changed()}
            await self._bulletins.beat(newcomers, changed, self._pulse, Turns(self._tick_mail))

    def _pulse(self) -> Pulse:
        pulse = self._standings.pulse(time.monotonic())
        has_ticks = pulse.current and not self._resync.doubt.is_open
        has_news = self._news_mail.is_sure_of(MARKET_NEWS) and not self._halts.is_in_doubt
        return pulse._replace(current=(has_ticks or not self._tick_mail.topics) and has_news)


_hubs: WeakKeyDictionary[asyncio.AbstractEventLoop, Hub] = WeakKeyDictionary()


def hub() -> Hub:
    """The hub of the running event loop."""
    loop = asyncio.get_running_loop()
    if loop not in _hubs:
        _hubs[loop] = Hub(StoredMarket(), flush_seconds=settings.STREAM_FLUSH_MS / 1000)
    return _hubs[loop]
