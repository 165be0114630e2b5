"""The short way of `GET /v2/stocks/quotes/latest?symbols=…`: answered before Django is asked.

This is what programs poll, and Django, REST framework and a question to Redis cost ten times what
the answer is worth. So each worker keeps the newest quote of every symbol as the very bytes that
stand in an answer, and an answer is some of them joined:

    AAPL → `"AAPL":{"bx":"P","bp":…}`        {"quotes":{` + `,`.join(fragments) + `}}

What makes it right:

- The bytes are made by the same encoder from the same quote as the ordinary view's.
- A fragment is used for two seconds after the bus brought its quote or the store was read. Half a
  second before that the store is read again for the first who asks, for all symbols that need it in
  one round trip, so that not all have to wait at once. Whatever the bus loses, no answer is older.
  After a gap on the bus every fragment is read anew.
- Where the store is this process's own memory, and in a stepped market, where an answer must show
  all that an advance did, the store is read every time: no fragment outlives its quote.
- It answers 200, or it leaves the request to the ordinary way (`ordinary`): a parameter or a
  symbol that it does not understand, a symbol without a quote, a key that memory does not know
  (`Gate`), a caller beyond the limit. So it never refuses, and never asks the database.

There are two doors to it. A server that asks `from_memory` is answered on the thread that reads its
sockets, for nothing there waits: no lock that is held across a wait, no store, no tokens to draw.
What would have to wait comes in at the other door, as a WSGI request on a thread of the pool.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import orjson
from django.conf import settings
from django.http.request import split_domain_port, validate_host

from quotes import latest
from quotes.api.fields import FEEDS, SYMBOL, SYMBOLS_MAX
from quotes.latest.local import is_older
from quotes.streaming.bus import CONTROL, TICK_TOPICS, WhenFull, bus
from quotes.streaming.codec import quote_item, rfc3339
from quotes.ticks import Batch, Quote

PATH = "/v2/stocks/quotes/latest"
FRESH_SECONDS = 2.0
RENEW_SECONDS = 0.5  # before the end of that
FEED_PARAMETERS = frozenset({"", *(f"feed={feed}" for feed in FEEDS)})
# Messages that may wait for the thread that hears them; beyond it the oldest are lost: a gap.
NEWS_MAX = 1_000
QUERY_KEPT_MAX = 512  # characters; what longer ones mean is not remembered
HEAR_SECONDS = 1.0

Environ = dict[str, Any]
Headers = list[tuple[str, str]]
Answer = tuple[Headers, bytes]
Wsgi = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]

log = logging.getLogger(__name__)


class Gate(Protocol):
    """Who is let through and what that costs them, from memory. `access` implements it."""

    def recognise(self, key_id: str, secret: str, *, may_wait: bool) -> str | None:
        """Who holds the key; None when memory does not know, or is to be renewed."""

    def pass_through(self, actor: str, path: str, *, may_wait: bool) -> Headers | None:
        """Count the request: the headers that say what is left.

        None beyond the limit, or where one would have to wait to know and may not.
        """

    def hear(self, news: Mapping[str, Any]) -> None:
        """A message of the bus's control topic: somebody may have to be forgotten."""


@dataclass(slots=True)
class Fragment:
    """A symbol's quote, and its part of an answer once somebody asked for it."""

    quote: Quote
    fresh_until: float  # monotonic
    text: bytes = b""
    is_asked_for: bool = False  # one who may not read the store was sent to one who may

    def bytes(self) -> bytes:
        if not self.text:
            quote = self.quote
            self.text = orjson.dumps({quote.symbol: quote_item(quote, rfc3339)})[1:-1]
        return self.text


class Fragments:
    """The newest quote of each symbol that this worker heard or read."""

    def __init__(self, fresh_seconds: float = FRESH_SECONDS) -> None:
        self._fresh_seconds = fresh_seconds
        self._held: dict[str, Fragment] = {}  # read without the lock: what it holds is replaced
        self._lock = threading.Lock()
        self._heard = (0, 0)  # epoch and number of the last batch

    def join(self, symbols: Sequence[str]) -> bytes | None:
        """The body for the symbols in this order; None where one of them has no quote here."""
        now, held = time.monotonic(), self._held
        if all(is_fresh(held.get(symbol), now + RENEW_SECONDS) for symbol in symbols):
            return joined([held[symbol].bytes() for symbol in symbols])
        return self._read_and_join(symbols, now)

    def join_fresh(self, symbols: Sequence[str]) -> bytes | None:
        """The same without reading the store: None where a fragment is not fresh.

        None also for the first caller after it is time to read one anew: `join` does.
        """
        now, held, found = time.monotonic(), self._held, []
        for symbol in symbols:
            fragment = held.get(symbol)
            if fragment is None or fragment.fresh_until <= now:
                return None
            if fragment.fresh_until <= now + RENEW_SECONDS and not fragment.is_asked_for:
                fragment.is_asked_for = True
                return None
            found.append(fragment.text or fragment.bytes())
        return joined(found)

    def hear(self, batch: Batch) -> None:
        """Keep what the bus brings; forget all when the batch before this one was lost."""
        epoch, number = self._heard
        if batch.epoch < epoch:
            return
        if batch.epoch > epoch or batch.number != number + 1:
            self.forget()
        self._heard = (batch.epoch, batch.number)
        quotes, _ = latest.newest(batch.ticks)
        self._keep(quotes.values(), time.monotonic() + self._fresh_seconds)

    def forget(self) -> None:
        """Read every symbol anew when it is asked for."""
        with self._lock:
            self._held = {}

    def _read_and_join(self, symbols: Sequence[str], now: float) -> bytes | None:
        held = self._held
        found = {each: held[each] for each in symbols if is_fresh(held.get(each), now)}
        soon = now + RENEW_SECONDS
        stale = [each for each in symbols if not is_fresh(found.get(each), soon)]
        if not all(map(SYMBOL.fullmatch, stale)):
            return None
        stored = latest.store().get_many(stale)
        quotes = [known.quote for known in stored.values() if known.quote is not None]
        found |= self._keep(quotes, now + self._fresh_seconds)
        if len(found) < len(symbols):
            return None
        return joined([found[symbol].bytes() for symbol in symbols])

    def _keep(self, quotes: Iterable[Quote], fresh_until: float) -> dict[str, Fragment]:
        """Hold these quotes, or what is held where that is newer; the fragments, by symbol."""
        kept = {}
        with self._lock:
            for quote in quotes:
                held = self._held.get(quote.symbol)
                if held is None or self._replaces(quote, held.quote):
                    held = self._held[quote.symbol] = Fragment(quote, fresh_until)
                else:
                    held.fresh_until, held.is_asked_for = fresh_until, False
                kept[quote.symbol] = held
        return kept

    def _replaces(self, quote: Quote, held: Quote) -> bool:
        # The store may be behind the bus; where it is read every time, it is always right.
        return quote != held and not (self._fresh_seconds and is_older(quote, held))


class ShortWay:
    """A WSGI application before Django's, and what it answers from memory alone."""

    def __init__(self, ordinary: Wsgi, *, gate: Gate, name_request: Callable[[str], str]) -> None:
        self._ordinary = ordinary
        self._gate = gate
        self._name_request = name_request
        self.from_memory = {PATH: self._answer_from_memory}
        self.with_body = getattr(ordinary, "with_body", {})  # another's, behind this one
        self._fragments = Fragments()
        self._made_in = 0  # the process: what was made before a fork is not used after it
        self._making = threading.Lock()
        self._listener: Listener | None = None

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"] == PATH and environ["REQUEST_METHOD"] == "GET":
            answer = self._answer(environ.get("QUERY_STRING", ""), environ, may_wait=True)
            if answer is not None:
                headers, body = answer
                start_response("200 OK", headers)
                return [body]
        return self._ordinary(environ, start_response)

    def close(self) -> None:
        """Hear the bus no more."""
        if self._listener is not None:
            self._listener.stop.set()

    def _answer_from_memory(self, query: str, said: Mapping[str, str]) -> Answer | None:
        """A process's first request comes by the other door."""
        return self._answer(query, said, may_wait=False) if self._is_started() else None

    def _answer(self, query: str, said: Mapping[str, Any], *, may_wait: bool) -> Answer | None:
        """The answer to a query and headers, named as in a WSGI environment."""
        symbols = read_symbols(query)
        if not symbols or not is_our_host(said.get("HTTP_HOST", "")):
            return None
        actor = self._gate.recognise(
            said.get("HTTP_APCA_API_KEY_ID", ""),
            said.get("HTTP_APCA_API_SECRET_KEY", ""),
            may_wait=may_wait,
        )
        if actor is None:
            return None
        if may_wait and not self._is_started():
            self._start()
        join = self._fragments.join if may_wait else self._fragments.join_fresh
        body = join(symbols)
        if body is None:
            return None
        rate = self._gate.pass_through(actor, PATH, may_wait=may_wait)
        if rate is None:
            return None
        name = self._name_request(said.get("HTTP_X_REQUEST_ID", ""))
        return answer_headers(body, name, rate), body

    def _is_started(self) -> bool:
        return self._made_in == os.getpid()

    def _start(self) -> None:
        """In a process's first request: make the fragments, and the thread that keeps them."""
        with self._making:
            if self._is_started():
                return
            remembers = latest.store().is_remote and not settings.FEED_STEPPED
            self._fragments = Fragments(FRESH_SECONDS if remembers else 0.0)
            if remembers:
                self._listener = Listener(self._fragments, self._gate)
                threading.Thread(target=self._listener.run, name="hot reads", daemon=True).start()
            self._made_in = os.getpid()


class Listener:
    """Hears the bus for the fragments and for the gate, on a thread and a loop of its own."""

    def __init__(self, fragments: Fragments, gate: Gate) -> None:
        self._fragments = fragments
        self._gate = gate
        self.stop = threading.Event()

    def run(self) -> None:
        asyncio.run(self._run())

    async def _run(self) -> None:
        mail = bus().subscribe(
            [*TICK_TOPICS, CONTROL], limit=NEWS_MAX, when_full=WhenFull.DROP_OLDEST
        )
        while not self.stop.is_set():
            arrived = await mail.get_many(HEAR_SECONDS)
            if mail.missed:
                mail.missed = False
                self._fragments.forget()
            for topic, message in arrived:
                try:
                    self._hear(topic, message)
                except Exception:  # one message in disorder must not end the thread
                    log.exception("hot reads: a message on %s was not heard", topic)
                    self._fragments.forget()
        mail.close()

    def _hear(self, topic: str, message: Any) -> None:
        if topic == CONTROL:
            self._gate.hear(message)
        else:
            self._fragments.hear(message)


def answer_headers(body: bytes, name: str, rate: Headers) -> Headers:
    """The headers of an answer to a program, which has no use for those that pages need."""
    return [
        ("Content-Type", "application/json"),
        ("Content-Length", str(len(body))),
        ("Cache-Control", "private, no-store"),
        ("X-Content-Type-Options", "nosniff"),
        ("X-Request-ID", name),
        *rate,
    ]


def is_fresh(fragment: Fragment | None, now: float) -> bool:
    return fragment is not None and fragment.fresh_until > now


def joined(fragments: list[bytes]) -> bytes:
    return b'{"quotes":{' + b",".join(fragments) + b"}}"


def read_symbols(query: str) -> tuple[str, ...] | None:
    """The symbols of a plain query, sorted, each once; None for any that is not plain.

    Plain is `symbols=AAPL,MSFT`, with a feed after it or without. What is left of percent signs
    and the like is no symbol, as whoever looks it up will see.
    """
    return _known_symbols(query) if len(query) <= QUERY_KEPT_MAX else _symbols(query)


def _symbols(query: str) -> tuple[str, ...] | None:
    named, _, feed = query.partition("&")
    if not named.startswith("symbols=") or feed not in FEED_PARAMETERS or not named.isascii():
        return None
    symbols = set(named[8:].upper().replace("%2C", ",").split(","))
    return tuple(sorted(symbols)) if len(symbols) <= SYMBOLS_MAX else None


_known_symbols = lru_cache(maxsize=1024)(_symbols)  # whoever polls asks the same again


@lru_cache(maxsize=256)
def is_our_host(host: str) -> bool:
    """Whether Django would take a request for this host."""
    return validate_host(split_domain_port(host)[0], settings.ALLOWED_HOSTS)
