"""A WebSocket client of an ASGI application without a network, and what streams are tested with."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Set
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgpack
import orjson

from quotes.streaming import off_loop
from quotes.streaming.line import Line
from quotes.streaming.seats import seats
from quotes.streaming.session import AUTHENTICATED, CONNECTED
from quotes.ticks import MICROSECONDS, Bar, Batch, Quote, Trade
from tests.waiting import PATIENCE_SECONDS

OPENING_US = 1_381_152_600 * MICROSECONDS  # 2013-10-07 09:30 in New York


@contextmanager
def threads_of_its_own() -> Iterator[None]:
    """A test whose threads have no database connection that another test has left behind."""
    kept = off_loop._THREADS, off_loop._SWEEPER
    own = ThreadPoolExecutor(2, "stream"), ThreadPoolExecutor(1, "sweep")
    off_loop._THREADS, off_loop._SWEEPER = own
    try:
        yield
    finally:
        for threads in own:
            threads.shutdown()
        off_loop._THREADS, off_loop._SWEEPER = kept


@contextmanager
def all_at_the_door() -> Iterator[None]:
    """More logins than there are threads for, and none of them gets on."""
    gets_on = threading.Event()
    for _ in range(10):
        off_loop._THREADS.submit(gets_on.wait, 2 * PATIENCE_SECONDS)
    try:
        yield
    finally:
        gets_on.set()


@contextmanager
def leaving_no(kind: type) -> Iterator[None]:
    """No object of this kind is left in the end that only the garbage collector would free."""
    gc.collect()
    gc.disable()
    try:
        yield
        assert not [each for each in gc.get_objects() if type(each) is kind]
    finally:
        gc.enable()


def lose_newest(account: str) -> None:
    """Take its newest seat from an account, as where all processes together gave too many."""
    newest = max(at for at, seat in seats()._seats.items() if seat.account == account)
    seats()._lose(seats()._seats[newest])


@dataclass(frozen=True)
class Someone:
    """A credential."""

    user_id: int = 1
    account_id: int | None = 11
    key_id: str | None = "KEY"


class Lately(NamedTuple):
    """Who was shut out."""

    keys: dict[str, int]
    users: set[int]
    mark: object
    accounts: frozenset[int] = frozenset()


@dataclass
class Doorman:
    """An authenticator that knows its keys by heart."""

    keys: dict[tuple[object, object], Someone] = field(
        default_factory=lambda: {("KEY", "secret"): Someone()}
    )
    cookies: dict[bytes, Someone] = field(default_factory=dict)
    gone: set[Someone] = field(default_factory=set)

    def by_key(self, key_id: object, secret: object) -> Someone | None:
        if not isinstance(key_id, str) or not isinstance(secret, str):
            return None
        return self.keys.get((key_id, secret))

    def by_scope(self, scope: dict[str, Any]) -> Someone | None:
        headers = dict(scope["headers"])
        if b"apca-api-key-id" in headers:
            key_id, secret = headers[b"apca-api-key-id"], headers.get(b"apca-api-secret-key", b"")
            return self.by_key(key_id.decode(), secret.decode())
        return self.cookies.get(headers.get(b"cookie", b""))

    def shut_out(self, credentials: Set[Someone]) -> Set[Someone]:
        return self.gone & credentials

    def shut_out_since(self, mark: object) -> Lately:
        keys = {each.key_id: each.user_id for each in self.gone if each.key_id is not None}
        return Lately(keys, {each.user_id for each in self.gone if each.key_id is None}, mark)


class Wire:
    """The frames extension of a server, with a network that takes as much as it is told to."""

    def __init__(self, room: int | None = None) -> None:
        self.room = room  # bytes that leave at once; None: all
        self.written = b""
        self.waiting = b""
        self.aborted = False
        self.writes = 0

    def lend(self, line: Line) -> None:
        line.send = self.send

    def send(self, frames: bytes) -> int:
        """As a kernel does: with no room at all it raises."""
        if self.room == 0:
            raise BlockingIOError
        if self.waiting:
            return 0
        taken = len(frames) if self.room is None else min(self.room, len(frames))
        self.writes += taken == len(frames)  # else `write` counts it
        self.written += frames[:taken]
        if self.room is not None:
            self.room -= taken
        return taken

    def write(self, frames: bytes) -> int:
        self.writes += 1
        self.waiting += frames
        self.drain()
        return len(self.waiting)

    def drain(self, room: int | None = None) -> None:
        if room is not None:
            self.room = room
        taken = len(self.waiting) if self.room is None else min(self.room, len(self.waiting))
        self.written += self.waiting[:taken]
        self.waiting = self.waiting[taken:]
        if self.room is not None:
            self.room -= taken

    def backlog(self) -> int:
        return len(self.waiting)

    def abort(self) -> None:
        self.aborted = True
        self.waiting = b""


class Client:
    """One open socket: says messages, hears frames."""

    def __init__(self, app: Any, scope: dict[str, Any], packed: bool) -> None:
        self.packed = packed
        self.frames: list[bytes | str] = []  # every frame that was not taken yet
        self.heard: list[Any] = []  # every decoded frame so far
        self.close_code: int | None = None
        self.accepted = False
        self._to_app: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._news = asyncio.Event()
        self._task = asyncio.create_task(app(scope, self._to_app.get, self._from_app))
        self._to_app.put_nowait({"type": "websocket.connect"})

    async def _from_app(self, message: dict[str, Any]) -> None:
        if message["type"] == "websocket.accept":
            self.accepted = True
        elif message["type"] == "websocket.send":
            self.frames.append(message["text"] if "text" in message else message["bytes"])
        elif message["type"] == "websocket.close":
            self.close_code = message.get("code", 1000)
            self._to_app.put_nowait({"type": "websocket.disconnect", "code": self.close_code})
        self._news.set()

    def say(self, message: Any) -> None:
        if self.packed:
            self.say_raw(msgpack.packb(message))
        else:
            self.say_raw(orjson.dumps(message).decode())

    def say_raw(self, content: bytes | str) -> None:
        kind = "text" if isinstance(content, str) else "bytes"
        self._to_app.put_nowait({"type": "websocket.receive", kind: content})

    async def hear(self) -> Any:
        """The next frame, decoded; fails when none comes."""
        await self.until(lambda: self.frames)
        frame = self.frames.pop(0)
        decoded = msgpack.unpackb(frame) if self.packed else orjson.loads(frame)
        self.heard.append(decoded)
        return decoded

    async def hear_many(self, count: int) -> list[Any]:
        return [await self.hear() for _ in range(count)]

    async def ask(self, message: Any) -> Any:
        self.say(message)
        return await self.hear()

    async def silence(self, seconds: float = 0.05) -> None:
        await asyncio.sleep(seconds)
        assert self.frames == []

    async def closed(self) -> int:
        await self.until(lambda: self.close_code is not None)
        assert self.close_code is not None
        return self.close_code

    async def until(self, holds: Callable[[], Any]) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not holds():
                if self._task.done():
                    self._task.result()
                    assert holds(), "the application ended"
                self._news.clear()
                await self._news.wait()

    async def leave(self) -> None:
        if not self._task.done():
            self._to_app.put_nowait({"type": "websocket.disconnect", "code": 1000})
        async with asyncio.timeout(PATIENCE_SECONDS):
            await self._task


@asynccontextmanager
async def connected(
    app: Any,
    *,
    feed: str = "iex",
    path: str = "",
    headers: dict[str, str] | None = None,
    query: str = "",
    packed: bool = False,
    extensions: dict[str, Any] | None = None,
) -> AsyncIterator[Client]:
    """A client of the application, from its handshake to its leaving."""
    sent = {"content-type": "application/msgpack"} if packed else {}
    sent |= headers or {}
    scope = {
        "type": "websocket",
        "path": path or f"/v2/{feed}",
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in sent.items()],
        "client": ["127.0.0.1", 50_000],
        "url_route": {"kwargs": {"feed": feed}},
        "extensions": extensions or {},
    }
    client = Client(app, scope, packed)
    try:
        yield client
    finally:
        await client.leave()


async def enter(client: Client, key: str = "KEY") -> None:
    """Log in where market data are streamed; what is heard next is its answers."""
    client.say({"action": "auth", "key": key, "secret": "secret"})
    assert await client.hear_many(2) == [[CONNECTED], [AUTHENTICATED]]


def quote(symbol: str = "AAPL", n: int = 1, **fields: Any) -> Quote:
    defaults = {"bid": 494_100, "bid_size": 3, "ask": 494_200, "ask_size": 5, "epoch": 1}
    return Quote(symbol=symbol, at_us=OPENING_US + n, sequence=n, **{**defaults, **fields})


def trade(symbol: str = "AAPL", n: int = 1, **fields: Any) -> Trade:
    defaults = {"price": 494_150, "size": 100, "exchange": "V", "epoch": 1}
    return Trade(symbol=symbol, at_us=OPENING_US + n, sequence=n, **{**defaults, **fields})


def bar(symbol: str = "AAPL", minute: int = 0, timeframe: str = "1Min", **fields: Any) -> Bar:
    start = OPENING_US // MICROSECONDS + 60 * minute
    prices = {"open": 494_100, "high": 494_500, "low": 494_000, "close": 494_200}
    return Bar(symbol, timeframe, start, **{**prices, "volume": 1_000, **fields})


def batch(*ticks: Quote | Trade, number: int = 1, epoch: int = 1) -> Batch:
    return Batch(ticks, OPENING_US + 1_000_000, epoch, number)
