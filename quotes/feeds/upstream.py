"""The socket to an upstream that speaks Alpaca's data protocol: the service, or another Openbell.

It runs in a thread with an event loop of its own and never gives up: a connection that is lost
comes back after a full-jitter backoff, subscribes again, and hears a snapshot of where every symbol
stands. Messages go to an `Intake`, which finds out whether any are missing.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlsplit, urlunsplit

import msgpack
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from quotes.feeds.base import FeedError
from quotes.feeds.intake import SILENT_SECONDS, Intake, Lost
from quotes.streaming.limits import SYMBOLS_MAX

log = logging.getLogger(__name__)

FIRST_WAIT_SECONDS = 0.5
LONGEST_WAIT_SECONDS = 10.0
STEADY_SECONDS = 10.0  # a connection that held this long starts the backoff afresh
OPEN_SECONDS_MAX = 5.0
ASK_SECONDS_MAX = 5.0
PING_SECONDS = 3.0
ROOM_SECONDS = 0.02
SYMBOLS_A_MESSAGE = 500
FRAME_BYTES_MAX = 16 * 1024 * 1024
OF_ALPACA = ".alpaca.markets"

EACH = ("quotes", "trades", "statuses")


class Upstream(NamedTuple):
    """Where the market data come from, and with whose key."""

    url: str  # ws://host:8000/v2/iex
    key_id: str
    secret: str

    @property
    def host(self) -> str:
        return urlsplit(self.url).netloc

    @property
    def is_openbell(self) -> bool:
        return not (urlsplit(self.url).hostname or "").endswith(OF_ALPACA)

    @property
    def stream_url(self) -> str:
        """Another Openbell is asked to be honest."""
        if not self.is_openbell:
            return self.url
        return urlunsplit(urlsplit(self.url)._replace(query="honest=1"))

    def ask(self, path: str) -> Any:
        """What the REST API of another Openbell answers; FeedError."""
        parts = urlsplit(self.url)
        scheme = {"ws": "http", "wss": "https"}[parts.scheme]
        request = urllib.request.Request(
            f"{scheme}://{parts.netloc}{path}",
            headers={"APCA-API-KEY-ID": self.key_id, "APCA-API-SECRET-KEY": self.secret},
        )
        try:
            with urllib.request.urlopen(request, timeout=ASK_SECONDS_MAX) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            if error.code in (401, 403):
                raise FeedError(f"{self.host} does not accept UPSTREAM_KEY_ID") from error
            raise FeedError(f"{self.host} answers {error.code} to {path}") from error
        except (OSError, ValueError) as error:
            raise FeedError(f"{self.host} does not answer: {error}") from error


class Refused(Exception):
    """The upstream said no; the sentence is its own."""


class Link:
    """Keeps one connection to an upstream while it is open."""

    def __init__(self, upstream: Upstream, symbols: Sequence[str], intake: Intake) -> None:
        self._upstream = upstream
        self._symbols = symbols
        self._intake = intake
        self._thread = threading.Thread(target=self._run, name="upstream", daemon=True)
        self._loop = asyncio.new_event_loop()
        self._task: asyncio.Task[None] | None = None

    @property
    def is_open(self) -> bool:
        return self._thread.ident is not None

    def open(self) -> None:
        """Begin to connect; returns at once."""
        self._thread.start()

    def close(self) -> None:
        """End the connection and its thread. Nothing happens where there is none."""
        if self.is_open and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._cancel)
            self._thread.join(OPEN_SECONDS_MAX)

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            try:
                runner.run(self._stay_connected())
            except asyncio.CancelledError:
                return

    async def _stay_connected(self) -> None:
        self._task = asyncio.current_task()
        attempt = 0
        while True:
            begun = time.monotonic()
            try:
                await self._listen()
            except (OSError, WebSocketException, Refused, Lost) as error:
                log.warning("%s: %s; connecting again", self._upstream.host, error or "silent")
            except Exception:
                log.exception("%s said what cannot be understood", self._upstream.host)
            finally:
                self._intake.end()
            attempt = 0 if time.monotonic() - begun > STEADY_SECONDS else attempt + 1
            await asyncio.sleep(wait_seconds(attempt))

    async def _listen(self) -> None:
        """One connection, from its opening to its loss."""
        headers = {"Content-Type": "application/msgpack"}
        async with connect(
            self._upstream.stream_url,
            additional_headers=headers,
            compression=None,
            max_size=FRAME_BYTES_MAX,
            open_timeout=OPEN_SECONDS_MAX,
            close_timeout=1,
            ping_interval=PING_SECONDS,
            ping_timeout=PING_SECONDS,
        ) as socket:
            self._intake.begin(time.time_ns() // 1_000)
            await self._enter(socket)
            log.info("%s feeds %d symbols", self._upstream.host, len(self._symbols))
            while True:
                await self._hear(socket)
                while self._intake.is_full():
                    await asyncio.sleep(ROOM_SECONDS)

    async def _enter(self, socket: ClientConnection) -> None:
        """Say who we are and what we want."""
        key = {"key": self._upstream.key_id, "secret": self._upstream.secret}
        await socket.send(msgpack.packb({"action": "auth", **key}))
        while not _says(await self._hear(socket), "success", "authenticated"):
            continue
        for some in self._asked():
            wanted = dict.fromkeys(EACH, some)
            await socket.send(msgpack.packb({"action": "subscribe", **wanted}))
            while not _says(await self._hear(socket), "subscription"):
                continue
        self._intake.subscribed()

    def _asked(self) -> list[list[str]]:
        """The symbols of each subscribe message. Another Openbell takes so many by name; beyond it
        is asked for everything, and the intake passes over what is not ours."""
        if self._upstream.is_openbell and len(EACH) * len(self._symbols) > SYMBOLS_MAX:
            return [["*"]]
        starts = range(0, len(self._symbols), SYMBOLS_A_MESSAGE)
        return [list(self._symbols[start : start + SYMBOLS_A_MESSAGE]) for start in starts]

    async def _hear(self, socket: ClientConnection) -> list[dict[str, Any]]:
        """The next frame, taken in; an upstream that beats and then does not is lost."""
        async with asyncio.timeout(SILENT_SECONDS if self._upstream.is_openbell else None):
            frame = await socket.recv(decode=False)
        messages: list[dict[str, Any]] = msgpack.unpackb(frame, timestamp=0)
        for message in messages:
            if message["T"] == "error":
                raise Refused(message["msg"])
        self._intake.hear(messages)
        return messages


def wait_seconds(attempt: int, uniform: Any = random.uniform) -> float:
    """How long to wait before the n-th attempt in a row (from 0): anywhere up to its bound."""
    bound = min(LONGEST_WAIT_SECONDS, FIRST_WAIT_SECONDS * 2 ** min(attempt, 10))
    return float(uniform(0.0, bound))


def _says(messages: Iterable[dict[str, Any]], kind: str, said: str | None = None) -> bool:
    return any(each["T"] == kind and said in (None, each.get("msg")) for each in messages)
