"""Processes that counted alone have let in more than the limit: who goes when they count again."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings
from hypothesis import given
from hypothesis import strategies as st

from quotes.streaming import seats as seats_module
from quotes.streaming.seating import Claim, over
from quotes.streaming.seats import Seat
from tests.quotes.rooms import Room, life_of, on_redis, processes, redis
from tests.redis_server import RedisServer, running_redis
from tests.waiting import until

pytestmark = pytest.mark.usefixtures("patient_with_redis")

LIMITS = {"account": 3}
KEYED = [{"account": 5}, *({"account": 5, key: 2} for key in ("key", "other", "third"))]

# --- the rule -------------------------------------------------------------------------------------


def claims_of(*limits: dict[str, int]) -> list[Claim]:
    return [Claim(n, f"process {n % 3}", each) for n, each in enumerate(limits)]


def counted(claims: list[Claim]) -> Counter[str]:
    return Counter(holder for claim in claims for holder in claim.limits)


def test_the_newest_go() -> None:
    claims = claims_of(*[LIMITS] * 5)

    assert over(claims) == claims[3:]
    assert over(claims[:3]) == []


def test_who_goes_for_the_key_makes_room_in_the_account() -> None:
    keyed, by_cookie = {"account": 3, "key": 1}, {"account": 3}
    claims = claims_of(keyed, keyed, by_cookie, by_cookie, by_cookie)

    assert over(claims) == [claims[1], claims[4]]


@given(st.lists(st.sampled_from(KEYED)), st.randoms())
def test_no_more_go_than_needed_whoever_tells_first(
    limits: list[dict[str, int]], chance: random.Random
) -> None:
    claims = claims_of(*limits)
    gone = over(claims)
    stays = [claim for claim in claims if claim not in gone]

    assert all(counted(stays)[holder] <= most for each in KEYED for holder, most in each.items())
    for claim in gone:
        before = counted([each for each in stays if each < claim])
        assert any(before[holder] == most for holder, most in claim.limits.items())
    some, shuffled = chance.sample(claims, chance.randint(0, len(claims))), claims[:]
    chance.shuffle(shuffled)
    assert over(shuffled) == gone
    of_some = over(some)  # one that tells later changes nothing
    assert over([claim for claim in claims if claim not in of_some]) == [
        claim for claim in gone if claim not in of_some
    ]


# --- processes over a Redis -----------------------------------------------------------------------


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beats that come soon, and nobody who has to be known to be dead first."""
    pytest.importorskip("redis")
    from quotes.streaming import redis_seats

    monkeypatch.setattr(redis_seats, "AWAY_SECONDS", 0.0)
    monkeypatch.setattr(seats_module, "BEAT_SECONDS", 0.05)
    monkeypatch.setattr(seats_module, "SETTLE_SECONDS", 0.0)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis of this test alone."""
    with running_redis(tmp_path) as server:
        yield server


def taken(rooms: list[Room]) -> Counter[str]:
    return sum((Counter(each.taken) for each in rooms), Counter[str]())


async def until_nobody_is_over(rooms: list[Room], **most: int) -> None:
    def settled() -> bool:
        together = taken(rooms)
        return all(together[holder] <= count for holder, count in most.items())

    await until(settled)


async def until_settling(room: Room, *, later: bool) -> None:
    """Until it is planned to look who is over, or until that is done."""

    def planned() -> bool:
        return later if room._settle_all_at < math.inf else not (later or room._unsettled)

    await until(planned)


def cut_off(monkeypatch: pytest.MonkeyPatch, *rooms: Room) -> None:
    """These do not reach Redis, until the patch is undone."""
    from redis.exceptions import ConnectionError as RedisConnectionError

    def away(*arguments: object) -> None:
        raise RedisConnectionError("away")

    for room in rooms:
        monkeypatch.setattr(room._shared, "_exchange", away)
        monkeypatch.setattr(room._shared, "_tell_all", away)


def together(rooms: list[Room]) -> list[Seat]:
    """Everybody who sits somewhere or had to go, in the order in which they came."""
    everybody = [seat for room in rooms for seat in (*room.sitting, *room.lost)]
    return sorted(everybody, key=lambda seat: seat.taken_at_us)


@pytest.mark.usefixtures("quick")
async def test_after_an_outage_the_newest_go_and_no_more_than_needed(server: RedisServer) -> None:
    async with processes(2, server.url) as both:
        one, two = both
        await until(lambda: one.takes(LIMITS))
        server.kill()
        took = [await each.takes(LIMITS) for each in (two, one, two, one, two, one)]
        assert took == [True, True, True, True, True, False]
        everybody = together(both)
        server.start()

        await until_nobody_is_over(both, account=3)
        for _ in range(3):  # whatever else is asked in the beats that follow
            assert not await one.takes(LIMITS)
            assert not await two.takes(LIMITS)
        assert [seat for seat in everybody if seat not in one.lost + two.lost] == everybody[:3]
        assert taken(both) == {"account": 3}

        one.leaves(LIMITS)
        await until(lambda: two.takes(LIMITS))


@on_redis
@pytest.mark.usefixtures("quick")
async def test_who_was_let_in_by_redis_goes_too_if_those_of_a_lost_process_came_before() -> None:
    async with processes(2) as (lost, other):
        assert await lost.takes({"account": 2})
        with pytest.MonkeyPatch.context() as outage:
            cut_off(outage, lost)
            assert await lost.takes({"account": 2})
            with redis() as operator:
                operator.delete(life_of(lost))  # as it is taken for dead
            assert await other.takes({"account": 2})

        await until_nobody_is_over([lost, other], account=2)
        assert (len(lost.lost), len(other.lost)) == (0, 1)


@on_redis
@pytest.mark.usefixtures("quick")
async def test_a_process_that_comes_back_later_changes_nothing_for_those_who_stay() -> None:
    chance = random.Random(5)
    async with processes(3) as rooms:
        with pytest.MonkeyPatch.context() as outage:
            cut_off(outage, *rooms)
            for _ in range(30):
                await chance.choice(rooms).takes(chance.choice(KEYED))
            everybody = together(rooms)
            outage.undo()
            cut_off(outage, rooms[2])
            await until_nobody_is_over(rooms[:2], account=5, key=2, other=2, third=2)

        await until_nobody_is_over(rooms, account=5, key=2, other=2, third=2)
        claims = [Claim(seat.taken_at_us, "", seat.limits) for seat in everybody]
        gone = {claim.taken_at_us for claim in over(claims)}
        assert {seat.taken_at_us for room in rooms for seat in room.lost} == gone


@on_redis
@pytest.mark.usefixtures("quick")
async def test_nobody_goes_for_a_process_that_died_in_the_outage(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(seats_module, "SETTLE_SECONDS", 1_000.0)
    async with processes(1) as [survivor]:
        async with processes(1) as [killed]:
            for _ in range(3):
                assert await killed.takes(LIMITS)
        with pytest.MonkeyPatch.context() as outage:
            cut_off(outage, survivor)
            assert await survivor.takes(LIMITS)
            assert await survivor.takes(LIMITS)
        await until_settling(survivor, later=True)
        assert not await survivor.takes(LIMITS)  # the dead one still counts
        assert survivor.lost == []
        with redis() as operator:
            operator.delete(life_of(killed))  # as `GONE_SECONDS` later
        survivor._settle_all_at = 0.0

        await until_settling(survivor, later=False)
        assert survivor.lost == []
        assert await survivor.takes(LIMITS)


@on_redis
def test_nobody_goes_before_all_have_told_which_seats_they_have() -> None:
    from quotes.streaming.redis_seats import RedisSeats

    one, two = RedisSeats(settings.REDIS_URL), RedisSeats(settings.REDIS_URL)
    one.exchange_anew({"account": 3}, [])
    two.exchange_anew({"account": 2}, [])
    of_one = {"account": {1: LIMITS, 5: LIMITS, 6: LIMITS}}

    assert one.find_over(of_one) == {"account": []}
    told = two.exchange({}, [])
    assert told is not None
    assert told.asked == ["account"]
    assert two.find_over({"account": {2: LIMITS, 3: LIMITS}}) == {"account": []}
    two.exchange({"account": 1}, [])
    assert one.find_over(of_one) == {"account": []}  # which of the two has left is not known
    assert two.find_over({"account": {3: LIMITS}}) == {"account": []}
    assert one.find_over(of_one) == {"account": [6]}

    one.exchange({"account": 2}, [])
    assert one.find_over({"account": {1: LIMITS, 5: LIMITS}}) == {}
