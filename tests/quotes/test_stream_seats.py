"""How many sockets an account and a key may have open, in one process and over all of them."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, contextmanager
from typing import Any

import pytest
from django.conf import settings
from websockets.asyncio.client import connect

from quotes.streaming import seats as seats_module
from quotes.streaming.seating import Away, Limits, Seating, Told
from tests.quotes.floor_process import floor_process
from tests.quotes.rooms import (
    REDIS_SECONDS,
    Room,
    counted,
    life_of,
    on_redis,
    processes,
    redis,
)
from tests.waiting import PATIENCE_SECONDS, until

pytestmark = pytest.mark.usefixtures("patient_with_redis")

AUTH = json.dumps({"action": "auth", "key": "KEY", "secret": "secret"})


# --- a process alone ------------------------------------------------------------------------------


async def test_seats_are_counted_and_given_back() -> None:
    seats = Room()

    assert [await seats.takes({"a": 2}) for _ in range(3)] == [True, True, False]
    assert await seats.takes({"b": 2})
    seats.leaves(["a"])
    assert await seats.takes({"a": 2})
    for account in ("a", "a", "b"):
        seats.leaves([account])
    assert not seats.taken


async def test_who_gets_no_seat_for_the_key_takes_none_of_the_account() -> None:
    seats = Room()
    assert await seats.takes({"account": 2, "key": 1})

    assert not await seats.takes({"account": 2, "key": 1})

    assert await seats.takes({"account": 2, "other key": 1})
    assert not await seats.takes({"account": 2, "third key": 1})
    seats.leaves(["account", "key"])
    seats.leaves(["account", "other key"])
    assert not seats.taken


# --- all processes --------------------------------------------------------------------------------


@on_redis
async def test_a_limit_holds_over_all_processes() -> None:
    async with processes(2) as (one, two):
        limits = {"account": 3, "key": 2}
        took = [await each.takes(limits) for each in (one, two, one, two)]
        assert took == [True, True, False, False]
        assert await one.takes({"account": 3, "other": 2})
        assert not await two.takes({"account": 3, "third": 2})  # the account is full
        assert await two.takes({"third": 2})  # and nothing was taken of the key

        one.leaves(limits)

        await until(lambda: two.takes(limits))
        assert not await one.takes(limits)


@on_redis
async def test_many_who_come_at_once_share_a_trip_and_the_seats(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from quotes.streaming.redis_seats import RedisSeats

    trips, make_trip = [], RedisSeats._exchange

    def counted(*arguments: Any) -> Any:
        trips.append(arguments)
        return make_trip(*arguments)

    monkeypatch.setattr(RedisSeats, "_exchange", counted)
    async with processes(2) as both:
        took = await asyncio.gather(*(one.takes({"account": 30}) for one in both * 40))

    assert sum(took) == 30
    assert len(trips) < 10


@on_redis
async def test_what_a_dead_process_held_is_free() -> None:
    async with processes(1) as [survivor]:
        async with processes(1) as [killed]:
            assert await killed.takes({"account": 1})
            assert not await survivor.takes({"account": 1})
        with redis() as operator:
            operator.pexpire(life_of(killed), 1)  # as `GONE_SECONDS` later

        await until(lambda: survivor.takes({"account": 1}))
        assert counted("account") == 1


@on_redis
async def test_what_a_process_holds_that_is_about_to_stop_is_free_at_once() -> None:
    async with processes(2) as (leaving, other):
        assert await leaving.takes({"account": 1})

        leaving.leave()

        await until(lambda: other.takes({"account": 1}))
        leaving.leaves(["account"])
        assert await leaving.takes({"account": 1})  # one that was on its way here
        assert not await other.takes({"account": 1})


@on_redis
async def test_a_process_that_beats_keeps_its_seats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seats_module, "BEAT_SECONDS", 0.05)
    async with processes(2) as (one, two):
        assert await one.takes({"account": 1})
        with redis() as operator:
            operator.pexpire(life_of(one), 30_000)
            await until(lambda: operator.pttl(life_of(one)) > 30_000, "a beat")
        assert not await two.takes({"account": 1})


@on_redis
async def test_a_redis_that_forgot_all_is_told_again() -> None:
    async with processes(2) as (one, two):
        assert await one.takes({"account": 2})
        with redis() as operator:
            operator.flushdb()
        assert await one.takes({"account": 2})
        assert not await two.takes({"account": 2})

        one.leaves(["account"])
        one.leaves(["account"])
        assert not one.taken
        await until(lambda: two.takes({"account": 1}))


@on_redis
async def test_a_redis_that_was_started_again_and_lost_its_last_second_is_told_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(seats_module, "BEAT_SECONDS", 0.05)
    async with processes(1) as [one]:
        assert await one.takes({"account": 1})
        with redis() as operator:
            connection = one._shared._redis.client_id()  # type: ignore[union-attr]
            operator.delete("openbell:seats:account")
            operator.client_kill_filter(_id=connection)

        await until(lambda: counted("account") == 1, "the seat to be told again")


@contextmanager
def before_all_is_told(then: Callable[[], None]) -> Iterator[None]:
    """What happens when a process has told under its new name all but that this is all."""
    from quotes.streaming import redis_seats

    in_slices = redis_seats._slices

    def slices_and_then(taken: dict[str, int]) -> Iterator[dict[str, int]]:
        yield from in_slices(taken)
        then()

    with pytest.MonkeyPatch.context() as meanwhile:
        meanwhile.setattr(redis_seats, "HOLDERS_PER_TRIP", 1)
        meanwhile.setattr(redis_seats, "_slices", slices_and_then)
        yield


@on_redis
def test_who_comes_while_a_process_takes_a_new_name_costs_it_no_seat() -> None:
    from quotes.streaming.redis_seats import RedisSeats

    one, two = RedisSeats(settings.REDIS_URL), RedisSeats(settings.REDIS_URL)
    one.exchange_anew({"a": 2, "b": 1}, [])
    two.exchange_anew({}, [])

    def somebody_comes() -> None:
        assert two.exchange({}, [{"a": 3, "b": 2}]).granted == [True]

    with before_all_is_told(somebody_comes):
        one.exchange_anew({"a": 2, "b": 1}, [])

    assert (counted("a"), counted("b")) == (3, 2)
    assert two.exchange({}, [{"a": 3}, {"b": 2}]).granted == [False, False]


@on_redis
def test_a_new_name_that_took_too_long_to_tell_is_not_used() -> None:
    from quotes.streaming.redis_seats import RedisSeats

    one = RedisSeats(settings.REDIS_URL)

    def time_passes() -> None:
        with redis() as operator:
            [life] = operator.keys("openbell:seats:@*")
            operator.delete(life)

    with before_all_is_told(time_passes), pytest.raises(Away):
        one.exchange_anew({"a": 1}, [])

    one._away_until = 0.0
    one.exchange_anew({"a": 1}, [])
    assert counted("a") == 1


@on_redis
async def test_who_asks_is_answered_though_the_telling_ended() -> None:
    async with processes(1) as [one]:
        assert await one.takes({"account": 2})
        assert one._telling is not None
        one._telling.cancel()
        await asyncio.wait([one._telling])

        async with asyncio.timeout(PATIENCE_SECONDS):
            assert await one.takes({"account": 2})


async def test_without_redis_each_process_counts_alone_and_refuses_nobody() -> None:
    pytest.importorskip("redis")
    async with processes(2, "redis://127.0.0.1:1/0") as both:
        for each in both:
            assert [await each.takes({"account": 2}) for _ in range(3)] == [True, True, False]
            each.leaves(["account"])
            assert await each.takes({"account": 2})


@on_redis
async def test_seats_that_were_taken_while_redis_was_away_count_when_it_is_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from redis.exceptions import ConnectionError as RedisConnectionError

    from quotes.streaming import redis_seats

    def away(*arguments: object) -> None:
        raise RedisConnectionError("away")

    monkeypatch.setattr(redis_seats, "AWAY_SECONDS", 0.0)
    monkeypatch.setattr(seats_module, "BEAT_SECONDS", 0.05)
    async with processes(2) as (one, two):
        with monkeypatch.context() as outage:
            outage.setattr(redis_seats.RedisSeats, "_exchange", away)
            assert await one.takes({"account": 1})
            assert await two.takes({"account": 1})

        await until(lambda: counted("account") == 2, "both seats to be told")
        one.leaves(["account"])
        assert not await one.takes({"account": 1})  # the other still sits there


class BadAnswer:
    """Who counts for all, and once answers what nobody can read."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.is_bad = False

    def exchange(self, changed: Mapping[str, int], wishes: Sequence[Limits]) -> Told:
        if self.is_bad:
            self.is_bad = False
            raise ValueError("no answer that anybody knows")
        self.counts |= changed
        return self._grant(wishes)

    def exchange_anew(self, taken: Mapping[str, int], wishes: Sequence[Limits]) -> Told:
        self.counts = {**taken}
        return self._grant(wishes)

    def _grant(self, wishes: Sequence[Limits]) -> Told:
        for limits in wishes:
            for holder in limits:
                self.counts[holder] = self.counts.get(holder, 0) + 1
        return Told([True] * len(wishes), [])

    def find_over(self, here: Mapping[str, Seating]) -> dict[str, list[int]]:
        return {}

    def leave(self) -> None:
        pass


async def test_what_changed_is_told_again_after_an_answer_that_cannot_be_read() -> None:
    shared = BadAnswer()
    one = Room(shared)
    assert await one.takes({"a": 3})
    assert await one.takes({"b": 3})

    shared.is_bad = True
    one.leaves(["a"])
    await until(lambda: not shared.is_bad, "the bad answer")
    assert await one.takes({"b": 3})

    assert {holder: count for holder, count in shared.counts.items() if count} == {"b": 2}
    one.leave()
    assert one._telling is not None
    await one._telling


@on_redis
async def test_nobody_sits_on_the_seat_of_one_who_left_while_asking() -> None:
    async with processes(2) as (one, two):
        asking = [asyncio.create_task(one.takes({"account": 5})) for _ in range(5)]
        await asyncio.sleep(0)
        for task in asking:
            task.cancel()
        await asyncio.wait(asking)

        async def all_free() -> bool:
            return not one.taken and await two.takes({"account": 1})

        await until(all_free)


@on_redis
async def test_no_more_than_the_limit_whatever_is_forgotten_meanwhile() -> None:
    chance, limits = random.Random(7), {"a": 3, "b": 2}
    async with processes(3) as all_of_them:
        for _ in range(150):
            one = chance.choice(all_of_them)
            holder = chance.choice(list(limits))
            if chance.random() < 0.35 and one.taken.get(holder):
                one.leaves([holder])
            elif chance.random() < 0.1:  # who has a new name says anew what it holds
                one._shared._tell_all_at = 0.0  # type: ignore[union-attr]
            else:
                await one.takes({holder: limits[holder]})
            total = sum((Counter(each.taken) for each in all_of_them), Counter[str]())
            assert all(total[holder] <= most for holder, most in limits.items()), total


@on_redis
async def test_two_servers_do_not_double_the_limit_and_a_killed_one_frees_its_sockets() -> None:
    async def enters(stack: AsyncExitStack, address: str) -> bool:
        client = await stack.enter_async_context(
            connect(address, compression=None, close_timeout=0.1)
        )
        await client.send(AUTH)
        _, [answer] = [json.loads(await client.recv()) for _ in range(2)]
        assert answer.get("code") in (None, 406)
        return bool(answer["T"] == "success")

    with ExitStack() as servers, redis() as operator:
        options = ("--quiet", "--seats", "2", "--redis-seconds", str(REDIS_SECONDS))
        started = [servers.enter_context(floor_process(*options)) for _ in range(2)]
        first, second = (f"{each.address}/iex" for each in started)
        killed = started[0].process
        async with AsyncExitStack() as clients, asyncio.timeout(3 * PATIENCE_SECONDS):
            assert await enters(clients, first)
            [life] = operator.keys("openbell:seats:@*")
            assert await enters(clients, second)
            assert [await enters(clients, each) for each in (first, second)] == [False, False]

            killed.kill()
            killed.wait()
            assert 0 < operator.pttl(life) <= REDIS_SECONDS * 1_000
            operator.pexpire(life, 1)  # as so long later

            await until(lambda: enters(clients, second), "the seats of the killed one")
