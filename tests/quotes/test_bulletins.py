"""What many honest sockets are told: encoded once, and with turns for everybody else in between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from quotes.latest import Latest
from quotes.streaming import bulletins, heart, turns
from quotes.streaming.codec import JSON_HONEST, MSGPACK_HONEST, Codec
from quotes.streaming.hub import Hub
from quotes.streaming.socket import Socket
from quotes.streaming.standings import Pulse
from tests.quotes.hub_readers import Reader, Store, heartbeat, hub_on
from tests.streams import quote, trade

READERS = 60


@pytest.fixture
def store() -> Store:
    store = Store()
    store.holds = {name: Latest(quote(name, n=1), trade(name, n=1)) for name in ("AAPL", "IBM")}
    return store


@pytest.fixture
async def hub(store: Store, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Hub]:
    """Slices of ten, and a turn after each of them, however quick."""
    monkeypatch.setattr(bulletins, "SLICE_SOCKETS", 10)
    monkeypatch.setattr(bulletins, "SLICE_SYMBOLS", 10)
    monkeypatch.setattr(turns, "TURN_SECONDS", 0.0)
    monkeypatch.setattr(heart, "HEARTBEAT_SECONDS", 1_000)
    async with hub_on(store) as hub:
        yield hub


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The codec of each snapshot that was encoded."""
    found: list[str] = []
    encode = Codec.snapshot

    def count(codec: Codec, *arguments: Any, **more: Any) -> bytes:
        found.append(codec.name)
        return encode(codec, *arguments, **more)

    monkeypatch.setattr(Codec, "snapshot", count)
    return found


@asynccontextmanager
async def turns_of_others() -> AsyncIterator[Callable[[], int]]:
    """How often the loop got round."""
    count = 0

    async def go_round() -> None:
        nonlocal count
        while True:
            await asyncio.sleep(0)
            count += 1

    others = asyncio.create_task(go_round())
    yield lambda: count
    others.cancel()


async def test_a_snapshot_is_encoded_once_for_a_slice(hub: Hub, encoded: list[str]) -> None:
    readers = [Reader(hub, JSON_HONEST).want(quotes=["AAPL"]) for _ in range(10)]
    packed = Reader(hub, MSGPACK_HONEST).want(trades=["AAPL"])
    packed.socket.resync = 7

    await hub._take_stock()

    assert all(each.heard[-1]["T"] == "snapshot" for each in readers)
    assert packed.wire.written
    assert len(encoded) <= 3  # one in msgpack, and where the slices cut, two in JSON


async def test_each_is_answered_by_the_id_it_asked_with(hub: Hub) -> None:
    readers = [Reader(hub, JSON_HONEST).want(quotes=["AAPL"]) for _ in range(4)]
    for reader, asked in zip(readers, (None, 3, 5, 3), strict=True):
        reader.socket.resync = asked

    await hub._take_stock()

    assert [each.heard[-1]["resync"] for each in readers] == [None, 3, 5, 3]


Work = Callable[[Hub, Reader], Awaitable[None]]


@pytest.mark.parametrize(
    "work",
    [
        pytest.param(lambda hub, _: hub.beat(), id="heartbeats"),
        pytest.param(lambda hub, _: hub._take_stock(), id="taking stock"),
        pytest.param(lambda hub, reader: hub.resync(reader.socket, 1), id="one that wants all"),
    ],
)
async def test_others_have_their_turns_between_slices(hub: Hub, store: Store, work: Work) -> None:
    store.holds = {f"S{n:02}": Latest(quote(f"S{n:02}")) for n in range(READERS)}
    readers = [Reader(hub, JSON_HONEST).want(quotes=["*"]) for _ in range(READERS)]

    async with turns_of_others() as turns_taken:
        await work(hub, readers[0])
        assert turns_taken() >= READERS // 10 - 1  # the first is what the others begin with

    assert len(readers[0].heard) >= 1


async def test_a_heartbeat_that_cannot_be_made_costs_no_socket_what_changed(hub: Hub) -> None:
    readers = [Reader(hub, JSON_HONEST).want(quotes=["AAPL"]) for _ in range(READERS)]
    failed: list[Socket] = []

    def fail_once(socket: Socket, pulse: Pulse) -> bytes:
        if not failed:
            failed.append(socket)
            raise ValueError("no heartbeat")
        return heartbeat(socket, pulse)

    for reader in readers:
        reader.socket.notices = reader.socket.notices._replace(heartbeat=fail_once)
    hub.deliver([quote(n=8)])

    await hub.beat()
    await hub.beat()

    for reader in readers:
        beats = [one["quotes"] for one in reader.heard if one["T"] == "heartbeat"]
        is_late = reader.socket in failed
        assert beats == ([{"AAPL": [1, 8]}] if is_late else [{"AAPL": [1, 8]}, {}])


def snapshots(reader: Reader) -> list[dict[str, Any]]:
    return [one for one in reader.heard if one["T"] == "snapshot"]


async def take_stock_with(
    hub: Hub, readers: list[Reader], happens: Callable[[list[Reader]], None]
) -> list[Reader]:
    """Tell one socket at a time; something happens once the first is told. Whom it happened to."""
    rest: list[Reader] = []

    async def give(given: turns.Turns) -> None:
        untold = [each for each in readers if not snapshots(each)]
        if len(untold) == len(readers) - 1 and not rest:
            rest.extend(untold)
            happens(rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bulletins, "SLICE_SOCKETS", 1)
        patch.setattr(turns.Turns, "give", give)
        await hub._take_stock()
    assert len(rest) == len(readers) - 1
    return rest


async def test_no_snapshot_is_older_than_the_stream(hub: Hub) -> None:
    """A client that was told of a trade would go back, and miss the next one."""
    readers = [Reader(hub, JSON_HONEST).want(quotes=["AAPL"], trades=["AAPL"]) for _ in range(3)]
    hub.deliver([trade(n=8)])

    rest = await take_stock_with(hub, readers, lambda _: hub.deliver([trade(n=9), quote(n=9)]))

    for reader in readers:
        [snapshot] = snapshots(reader)
        assert snapshot["trades"] == [1, 9 if reader in rest else 8]
        assert snapshot["quote"]["seq"] == (9 if reader in rest else 1)


async def test_who_no_longer_wants_a_symbol_is_not_told_of_it(hub: Hub) -> None:
    readers = [Reader(hub, JSON_HONEST).want(quotes=["AAPL"]) for _ in range(3)]

    def leave(rest: list[Reader]) -> None:
        for reader in rest:
            reader.want(trades=["IBM"])

    rest = await take_stock_with(hub, readers, leave)

    assert not any(snapshots(each) for each in rest)
