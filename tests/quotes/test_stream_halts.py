"""What a hub knows of halts, however readings and news fall."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from quotes.streaming import halts as halts_module
from quotes.streaming.audience import Channel
from quotes.streaming.bus import CONTROL, bus
from quotes.streaming.codec import JSON_HONEST
from quotes.streaming.halts import Halts
from tests.quotes.hub_readers import Q, Reader, Store, hub_on
from tests.waiting import until

Told = tuple[str, str | None]


class Stored:
    """A database that answers one reading after the other, when it is told to."""

    def __init__(self) -> None:
        self.halts: dict[str, str] = {}
        self.readings: list[asyncio.Future[None]] = []
        self.told: list[Told] = []
        self.halts_of_hub = Halts(self.read, self.hearing, self.tell)

    async def hearing(self) -> bool:
        return True

    def tell(self, symbol: str, reason: str | None) -> None:
        self.told.append((symbol, reason))

    async def read(self) -> dict[str, str]:
        """What stood there when the reading began."""
        found, answer = dict(self.halts), asyncio.get_running_loop().create_future()
        self.readings.append(answer)
        await answer
        return found

    async def is_asked(self, times: int) -> None:
        await until(lambda: len(self.readings) >= times)
        assert len(self.readings) == times

    def answer(self) -> None:
        self.readings[-1].set_result(None)

    def fail(self) -> None:
        self.readings[-1].set_exception(OSError("away"))


@pytest.fixture
async def stored() -> AsyncIterator[Stored]:
    stored = Stored()
    yield stored
    stored.halts_of_hub.stop()


@pytest.fixture
def halts(stored: Stored) -> Halts:
    return stored.halts_of_hub


def halt(symbol: str, reason: str = "news") -> dict[str, Any]:
    return {"kind": "halt", "symbol": symbol, "reason": reason}


def resume(symbol: str) -> dict[str, Any]:
    return {"kind": "resume", "symbol": symbol}


async def known_after(halts: Halts, looking: asyncio.Task[None]) -> dict[str, str] | None:
    await looking
    return halts.known


async def test_what_is_heard_while_the_first_reading_runs_is_newer(
    halts: Halts, stored: Stored
) -> None:
    stored.halts = {"ENDS": "before", "STAYS": "before"}
    looking = asyncio.create_task(halts.look())
    await stored.is_asked(1)

    halts.hear(halt("BEGINS"))
    halts.hear(resume("ENDS"))
    stored.answer()

    assert await known_after(halts, looking) == {"BEGINS": "news", "STAYS": "before"}
    assert stored.told == [("BEGINS", "news"), ("ENDS", None)]


async def test_all_who_ask_wait_for_one_reading(halts: Halts, stored: Stored) -> None:
    first, second = asyncio.create_task(halts.look()), asyncio.create_task(halts.look())
    halts.miss()
    await stored.is_asked(1)

    halts.hear(halt("BEGINS"))
    stored.answer()
    await second

    assert await known_after(halts, first) == {"BEGINS": "news"}
    assert len(stored.readings) == 1


async def test_a_loss_while_a_reading_runs_is_read_again(halts: Halts, stored: Stored) -> None:
    stored.halts = {"ENDS": "before"}
    looking = asyncio.create_task(halts.look())
    await stored.is_asked(1)

    halts.miss()
    stored.halts = {"MISSED": "volatility"}
    stored.answer()
    await looking
    await stored.is_asked(2)
    stored.answer()
    await until(lambda: halts.known == {"MISSED": "volatility"})

    assert stored.told == [("ENDS", None), ("MISSED", "volatility")]


async def test_a_reading_after_a_loss_is_repeated_until_it_succeeds(
    halts: Halts, stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(halts_module, "RETRY_SECONDS", 0.001)
    halts.miss()
    await stored.is_asked(1)
    stored.fail()
    await stored.is_asked(2)
    stored.halts = {"MISSED": "volatility"}
    stored.fail()
    await stored.is_asked(3)
    stored.answer()

    await until(lambda: halts.known == {"MISSED": "volatility"})


async def test_who_looks_waits_for_one_attempt_only(halts: Halts, stored: Stored) -> None:
    looking = asyncio.create_task(halts.look())
    await stored.is_asked(1)
    stored.fail()

    assert await known_after(halts, looking) is None


async def test_who_asked_too_early_is_told_what_is_halted(
    halts: Halts, stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(halts_module, "RETRY_SECONDS", 0.001)
    stored.halts = {"ENDS": "before", "STAYS": "before"}
    looking = asyncio.create_task(halts.look())
    await stored.is_asked(1)
    stored.fail()
    await looking

    assert halts.has("STAYS") is None
    await stored.is_asked(2)
    halts.hear(resume("ENDS"))
    stored.answer()
    await until(lambda: halts.known is not None)

    assert (halts.has("STAYS"), halts.has("ENDS")) == (True, False)
    assert stored.told == [("ENDS", None), ("STAYS", "before")]


async def test_a_halt_that_was_told_before_anything_was_known_ends_with_the_first_reading(
    halts: Halts, stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(halts_module, "RETRY_SECONDS", 0.001)
    halts.miss()
    await stored.is_asked(1)
    halts.hear(halt("ENDS"))
    stored.fail()
    await stored.is_asked(2)  # and nothing was heard of its end
    stored.answer()
    await until(lambda: halts.known is not None)

    assert halts.known == {}
    assert stored.told == [("ENDS", "news"), ("ENDS", None)]


async def test_a_snapshot_says_as_of_which_status_it_is() -> None:
    """For who does not hear the two in their order."""
    async with hub_on(Store()) as hub:
        reader = Reader(hub, JSON_HONEST)
        wants = {Channel.STATUSES: ["AAPL"]}
        hub.snapshot(reader.socket, await hub.want_from_here(reader.socket, wants))
        bus().publish(CONTROL, halt("AAPL"))
        await reader.has(2)
        await hub.resync(reader.socket, 1)
        before, status, after = await reader.has(3)

    assert (before["statuses"], before["halted"]) == (None, False)
    assert (after["statuses"], after["halted"]) == ([status["epoch"], status["seq"]], True)


async def test_a_snapshot_after_a_halt_during_the_first_reading_says_halted() -> None:
    """A chained feed takes its word for it, and would fill where nothing is traded."""
    store, stored = Store(), Stored()
    store.halted = stored.read  # type: ignore[method-assign]
    async with hub_on(store) as hub:
        reader = Reader(hub, JSON_HONEST)
        asking = asyncio.create_task(hub.want_from_here(reader.socket, {Q: ["AAPL"]}))
        await stored.is_asked(1)
        bus().publish(CONTROL, halt("AAPL"))
        await until(lambda: "AAPL" in hub._halts._heard)
        stored.answer()
        hub.snapshot(reader.socket, await asking)

    assert [one["halted"] for one in reader.heard if one["T"] == "snapshot"] == [True]
