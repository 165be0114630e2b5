"""A crowd of honest clients of the market data stream, who come back when they are sent away."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from quotes.streaming.codec import rfc3339
from quotes.ticks import Quote
from tests.deploy.line import opened

FIRST_WAIT_SECONDS = 0.5
LONGEST_WAIT_SECONDS = 20.0
PATIENCE_SECONDS = 120.0
WATCH_SECONDS = 0.01

Place = tuple[int, int]


class Agreement(NamedTuple):
    """A heartbeat that was current and found nothing missing."""

    at: float
    market_time: str  # up to which the server says it has told everything
    newest: Place | None  # of what the client knew then


class Client:
    """One of them, watching one symbol."""

    def __init__(self, url: str, key: Sequence[str], symbol: str) -> None:
        self.url, self.key, self.symbol = url, key, symbol
        self.newest: Place | None = None  # (epoch, number) of the newest quote
        self.agreed = Agreement(0.0, "", None)
        self.disagreed = 0
        self.entered: list[float] = []  # instants of its subscriptions
        self.left: list[tuple[float, int | None, bool]] = []  # instant, close code, was it warned
        self.trouble = ""
        self._warned = False

    def __str__(self) -> str:
        return (
            f"{self.symbol} at {self.newest}, {len(self.entered)} times in,"
            f" left by {self.left[-3:]}, {self.disagreed} disagreements, trouble: {self.trouble}"
        )

    async def stay(self) -> None:
        """Until cancelled, with a full-jitter backoff."""
        attempt = 0
        while True:
            before = len(self.entered)
            try:
                await self._listen()
            except (OSError, TimeoutError) as error:
                self.trouble = str(error)
            attempt = 0 if len(self.entered) > before else attempt + 1
            bound = min(LONGEST_WAIT_SECONDS, FIRST_WAIT_SECONDS * 2**attempt)
            await asyncio.sleep(random.uniform(0, bound))

    async def _listen(self) -> None:
        key_id, secret = self.key
        async with opened(self.url, self._hear) as line:
            self._warned = False
            line.say({"action": "auth", "key": key_id, "secret": secret})
            line.say({"action": "subscribe", "quotes": [self.symbol]})
            code = await line.over
        self.left.append((time.monotonic(), code, self._warned))

    def _hear(self, message: dict[str, Any], frames: int) -> None:
        kind = message["T"]
        if kind == "q":
            self._note(message)
        elif kind == "snapshot" and message["quote"]:
            self._note(message["quote"])
        elif kind == "subscription":
            self.entered.append(time.monotonic())
        elif kind == "error":
            self.trouble = message["msg"]
        elif kind == "shutdown":
            self._warned = True
        elif kind == "heartbeat":
            self._compare(message, frames)

    def _compare(self, beat: dict[str, Any], frames: int) -> None:
        newest = beat["quotes"].get(self.symbol)
        told = newest is None or (self.newest is not None and tuple(newest) <= self.newest)
        if beat["sent"] != frames or not told:
            self.disagreed += 1
        elif beat["current"]:  # else the server does not know what it has missed
            self.agreed = Agreement(time.monotonic(), beat["t"], self.newest)

    def _note(self, quote: dict[str, Any]) -> None:
        place = quote["epoch"], quote["seq"]
        if self.newest is None or place > self.newest:
            self.newest = place


class Crowd:
    """All of them, on one loop: `async with Crowd(...)`."""

    def __init__(
        self, url: str, keys: Sequence[Sequence[str]], symbols: Sequence[str], count: int
    ) -> None:
        self.clients = [
            Client(url, keys[n % len(keys)], symbols[n % len(symbols)]) for n in range(count)
        ]
        self.longest_stall = 0.0  # of our own loop: what waits for so long is then heard at once
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Crowd:
        self._tasks.append(asyncio.create_task(self._watch()))
        for client in self.clients:
            self._tasks.append(asyncio.create_task(client.stay()))
            await asyncio.sleep(0.002)
        return self

    async def __aexit__(self, *error: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _watch(self) -> None:
        while True:
            at = time.monotonic()
            await asyncio.sleep(WATCH_SECONDS)
            self.longest_stall = max(self.longest_stall, time.monotonic() - at - WATCH_SECONDS)

    async def until_all(self, holds: Callable[[Client], bool], what: str) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not all(map(holds, self.clients)):
            wanting = [client for client in self.clients if not holds(client)]
            said = f"{len(wanting)} clients wait in vain {what}: "
            assert time.monotonic() < deadline, said + "; ".join(map(str, wanting[:5]))
            await asyncio.sleep(0.1)

    async def until_well(self, stands: Mapping[str, Quote]) -> None:
        """Until each has heard, from now on, a heartbeat that found nothing missing.

        It is the truth: once it says that all is told up to where a symbol stands, the client
        knows what stands there.
        """
        now = time.monotonic()
        until = {symbol: rfc3339(quote.at_us) for symbol, quote in stands.items()}
        await self.until_all(
            lambda client: (
                client.agreed.at > now and client.agreed.market_time > until[client.symbol]
            ),
            "to agree with a heartbeat",
        )
        places = {symbol: (quote.epoch, quote.sequence) for symbol, quote in stands.items()}
        for client in self.clients:
            newest = client.agreed.newest
            assert newest is not None, client
            assert newest >= places[client.symbol], f"{places[client.symbol]} is lost: {client}"

    def returns_since(self, begun: float) -> list[float]:
        """The instants of subscriptions, in order."""
        return sorted(at for client in self.clients for at in client.entered if at > begun)

    def departures_since(self, begun: float) -> list[float]:
        """The instants at which the server closed, in order."""
        return sorted(at for client in self.clients for at, *_ in client.left if at > begun)


class Pulse:
    """The longest that a server takes to answer a ping: while it stands still, all waits."""

    def __init__(self) -> None:
        self.longest_pause = 0.0

    async def feel(self, socket: ClientConnection) -> None:
        """Until the server closes the connection, or cancelled."""
        with suppress(ConnectionClosed):
            while True:
                await self._ping(socket)
                await asyncio.sleep(WATCH_SECONDS)

    async def _ping(self, socket: ClientConnection) -> None:
        begun = time.monotonic()
        try:
            await (await socket.ping())
        finally:  # also the one that it did not answer any more
            self.longest_pause = max(self.longest_pause, time.monotonic() - begun)
