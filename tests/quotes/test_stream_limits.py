"""What one client may ask of a process."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quotes.streaming import limits, socket
from quotes.streaming.consumers import MarketDataConsumer
from quotes.streaming.limits import Allowances, Failures, Pace
from quotes.streaming.seats import seats
from quotes.streaming.session import AUTHENTICATED
from tests.conftest import ROOT
from tests.streams import (
    Client,
    Doorman,
    Someone,
    connected,
    leaving_no,
    lose_newest,
    threads_of_its_own,
)

WHOLE_MARKET = 11_000


def test_the_readme_states_the_limits_that_hold() -> None:
    readme = " ".join((ROOT / "README.md").read_text().split())
    mebibytes, rest = divmod(socket.HELD_BYTES_MAX, 1024 * 1024)

    assert f"closed with {socket.SLOW_CLIENT_CLOSE} once {mebibytes} MiB of anything" in readme
    assert rest == 0
    assert f"taken nothing for {socket.STALLED_SECONDS_MAX:.0f} s" in readme
    assert f"ask for {limits.SYMBOLS_MAX:,} symbols" in readme
    seats = f"{limits.SOCKETS_PER_ACCOUNT_MAX} sockets on each stream, and a key"
    assert f"{seats} {limits.SOCKETS_PER_KEY_MAX}." in readme
    told = (
        f"{limits.TOLD_BURST:,} snapshots at once and then {limits.TOLD_PER_SECOND:,.0f} a second"
    )
    assert told in readme
    assert "one for each two symbols" in readme
    assert limits.NAMES_PER_SNAPSHOT == 2
    assert f"up to {limits.TOLD_WAIT_SECONDS_MAX:.0f} s later" in readme


def test_pace_allows_its_burst_then_its_rate() -> None:
    pace = Pace(burst=3, per_second=2, now=0)

    assert [pace.allows(0) for _ in range(4)] == [True, True, True, False]
    assert [pace.allows(0.5), pace.allows(0.5)] == [True, False]


def test_pace_saves_no_more_than_its_burst() -> None:
    pace = Pace(burst=2, per_second=100, now=0)

    assert [pace.allows(1_000) for _ in range(3)] == [True, True, False]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=200))
def test_pace_never_exceeds_burst_plus_rate(steps: list[float]) -> None:
    pace, now, allowed = Pace(burst=5, per_second=10, now=0), 0.0, 0
    for step in steps:
        now += step
        allowed += pace.allows(now)

    assert allowed <= 5 + 10 * now + 1e-6


def test_what_is_told_at_once_is_bounded_and_the_rest_waits_for_its_time() -> None:
    allowances, whole = Allowances(), limits.TOLD_BURST

    assert allowances.wait_for(1, whole, now=0) == 0
    assert allowances.wait_for(1, 0, now=0) == 0
    assert allowances.wait_for(1, 20_000, now=0) == 20_000 / limits.TOLD_PER_SECOND
    assert allowances.wait_for(1, 1, now=2) == pytest.approx(1 / limits.TOLD_PER_SECOND)
    assert allowances.wait_for(2, whole, now=2) == 0
    assert allowances.wait_for(1, whole, now=1_000) == 0


def test_who_would_wait_too_long_is_refused_and_has_taken_nothing() -> None:
    allowances = Allowances()
    most = limits.TOLD_BURST + int(limits.TOLD_PER_SECOND * limits.TOLD_WAIT_SECONDS_MAX)

    assert allowances.wait_for(1, most + 1, now=0) is None
    assert allowances.wait_for(1, most, now=0) == limits.TOLD_WAIT_SECONDS_MAX
    assert allowances.wait_for(1, 1, now=0) is None
    assert allowances.wait_for(1, 1, now=1) is not None


def test_a_user_whose_sockets_all_come_back_for_the_whole_market_is_told_it() -> None:
    allowances = Allowances()
    waits = [
        allowances.wait_for(1, WHOLE_MARKET, now=0) for _ in range(limits.SOCKETS_PER_ACCOUNT_MAX)
    ]

    assert None not in waits
    assert waits[:10] == [0] * 10


@given(st.lists(st.tuples(st.floats(0, 60), st.integers(0, 50_000)), min_size=1, max_size=200))
def test_nobody_is_told_more_than_burst_plus_rate(asked: list[tuple[float, int]]) -> None:
    allowances, now, told = Allowances(), 0.0, 0
    for step, count in asked:
        now += step
        seconds = allowances.wait_for(1, count, now)
        if seconds is not None:
            told += count
            assert told <= limits.TOLD_BURST + limits.TOLD_PER_SECOND * (now + seconds) + 1e-3


def test_the_memory_of_allowances_is_bounded() -> None:
    allowances = Allowances()
    for user_id in range(limits.ALLOWANCES_REMEMBERED_MAX + 10):
        allowances.wait_for(user_id, 1, now=0)

    assert len(allowances._of) == limits.ALLOWANCES_REMEMBERED_MAX


def test_each_further_failure_waits_twice_as_long_up_to_a_bound() -> None:
    failures = Failures()

    delays = [failures.delay_after("10.0.0.1", now=0) for _ in range(40)]

    assert delays[:4] == [0.25, 0.5, 1.0, 2.0]
    assert max(delays) == delays[-1] == limits.FAILURE_DELAY_SECONDS_MAX
    assert failures.delay_after("10.0.0.2", now=0) == 0.25


def test_failures_are_forgotten_after_a_while() -> None:
    failures = Failures()
    for _ in range(5):
        failures.delay_after("10.0.0.1", now=0)

    assert failures.delay_after("10.0.0.1", limits.FAILURES_FORGOTTEN_SECONDS + 1) == 0.25


def test_the_memory_of_failures_is_bounded() -> None:
    failures = Failures()
    for number in range(limits.FAILURES_REMEMBERED_MAX + 10):
        failures.delay_after(str(number), now=0)

    assert len(failures._of) == limits.FAILURES_REMEMBERED_MAX
    assert failures.delay_after("0", now=0) == 0.25


async def test_406_for_one_socket_too_many_of_a_key_though_its_account_has_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "FAILURE_DELAY_SECONDS_MAX", 0.0)
    doorman = Doorman({(key, "secret"): Someone(key_id=key) for key in ("KEY", "SECOND")})
    app = MarketDataConsumer.as_asgi(authenticate=doorman, sockets_per_key=1)

    async def enter(client: Client, key: str) -> Any:
        client.say({"action": "auth", "key": key, "secret": "secret"})
        return (await client.hear_many(2))[1]

    with threads_of_its_own():
        async with connected(app) as one, connected(app) as two, connected(app) as other:
            assert await enter(one, "KEY") == [AUTHENTICATED]
            [refused] = await enter(two, "KEY")
            assert (refused["code"], refused["msg"]) == (406, "connection limit exceeded")
            assert await two.closed() == 4406
            assert await enter(other, "SECOND") == [AUTHENTICATED]
        async with connected(app) as again:
            assert await enter(again, "KEY") == [AUTHENTICATED]
            assert seats().taken == {"data:account:1:11": 1, "data:key:KEY": 1}
    assert not seats().taken


async def test_406_for_whom_processes_that_counted_alone_let_in_too_many() -> None:
    app = MarketDataConsumer.as_asgi(authenticate=Doorman())
    with threads_of_its_own():
        async with connected(app) as older, connected(app) as newer:
            for client in (older, newer):
                client.say({"action": "auth", "key": "KEY", "secret": "secret"})
                await client.hear_many(2)

            lose_newest("data:account:1:11")

            [refused] = await newer.hear()
            assert (refused["code"], refused["msg"]) == (406, "connection limit exceeded")
            assert await newer.closed() == 4406
            assert seats().taken == {"data:account:1:11": 1, "data:key:KEY": 1}
            assert older.close_code is None
    assert not seats().taken


async def test_nothing_of_a_client_stays_until_the_garbage_is_collected() -> None:
    """A server collects rarely, and a thousand clients that come and go are 30 MB."""
    app = MarketDataConsumer.as_asgi(authenticate=Doorman())
    with threads_of_its_own(), leaving_no(MarketDataConsumer):
        for query in ("", "honest=1"):
            async with connected(app, query=query) as client:
                await client.hear()
                await client.ask({"action": "auth", "key": "KEY", "secret": "secret"})
                await client.ask({"action": "subscribe", "quotes": ["AAPL"]})
            del client
            await asyncio.sleep(0)
