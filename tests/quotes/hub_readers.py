"""A hub on a stored market, and readers of it: what the tests of the hub share."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from quotes.latest import Latest
from quotes.streaming.audience import Channel
from quotes.streaming.bus import TICK_TOPICS, forget_bus
from quotes.streaming.codec import (
    JSON,
    Codec,
    unframed,
)
from quotes.streaming.hub import Hub
from quotes.streaming.socket import Notices, Socket
from quotes.streaming.standings import Pulse
from quotes.ticks import Place
from tests.streams import Someone, Wire
from tests.waiting import until

TICKS = TICK_TOPICS[0]
Q, T = Channel.QUOTES, Channel.TRADES


class Store:
    """A stored market, and how often it was asked for quotes."""

    def __init__(self) -> None:
        self.holds: dict[str, Latest] = {}
        self.halts: dict[str, str] = {}
        self.come_to: Place | None = Place(1_000, 0)
        self.asked: list[list[str]] = []
        self.answers = asyncio.Event()
        self.answers.set()

    async def latest(self, symbols: Sequence[str]) -> dict[str, Latest]:
        self.asked.append(list(symbols))
        await self.answers.wait()
        return {symbol: self.holds.get(symbol, Latest()) for symbol in symbols}

    async def place(self) -> Place | None:
        return self.come_to

    async def listed(self) -> list[str]:
        return list(self.holds)

    async def halted(self) -> dict[str, str]:
        return dict(self.halts)


def heartbeat(socket: Socket, pulse: Pulse) -> bytes:
    return socket.codec.control(
        {
            "T": "heartbeat",
            "sent": socket.sent,
            "quotes": socket.unreported.get(Q, {}),
            "trades": socket.unreported.get(T, {}),
            "bars": socket.unreported.get(Channel.BARS, {}),
            "statuses": socket.unreported.get(Channel.STATUSES, {}),
            "t": pulse.watermark_us,
            "current": pulse.current,
        }
    )


class Reader:
    """A socket of the hub and what came out of it."""

    def __init__(self, hub: Hub, codec: Codec = JSON) -> None:
        self.hub = hub
        self.wire = Wire()
        self.closed_with: list[int] = []
        notices = Notices(
            slow_client=codec.control({"T": "slow"}),
            revoked=codec.control({"T": "revoked"}),
            shutdown=codec.control({"T": "shutdown"}),
            heartbeat=heartbeat,
        )
        self.socket = Socket(self.wire, codec, notices, close=self.closed_with.append)
        self.socket.credential = Someone()
        hub.join(self.socket)

    def want(self, **wants: list[str]) -> Reader:
        self.hub.want(self.socket, {Channel(name): symbols for name, symbols in wants.items()})
        return self

    @property
    def heard(self) -> list[dict[str, Any]]:
        messages = [json.loads(payload) for _, payload in unframed(self.wire.written)]
        return [message for array in messages for message in array]

    @property
    def numbers(self) -> list[tuple[str, str, int]]:
        """(kind, symbol, microsecond of the opening) of what was heard: ticks say their number."""
        return [(one["T"], one["S"], int(one["t"][-7:-1])) for one in self.heard if "t" in one]

    async def has(self, count: int) -> list[dict[str, Any]]:
        await until(lambda: len(self.heard) >= count)
        return self.heard


async def settled() -> None:
    """Everything that was published has been delivered."""
    for _ in range(20):
        await asyncio.sleep(0.001)


@asynccontextmanager
async def hub_on(store: Store) -> AsyncIterator[Hub]:
    """A hub with a bus of its own; nothing is left of either."""
    forget_bus()
    hub = Hub(store)
    yield hub
    for socket in tuple(hub.sockets):
        hub.leave(socket)
    await asyncio.sleep(0)
    forget_bus()
