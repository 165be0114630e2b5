"""Seats of several processes that share a Redis, and who sits there."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
from django.conf import settings

from quotes.streaming.seating import Limits
from quotes.streaming.seats import Seat, Seats

REDIS_SECONDS = 60.0  # for an answer of Redis, and between two beats: longer than any test
on_redis = pytest.mark.skipif(not os.environ.get("REDIS_URL"), reason="NO REDIS: set REDIS_URL")


class Room(Seats):
    """The seats of a process, with those who sit on them and who had to go."""

    def __init__(self, *shared: Any) -> None:
        super().__init__(*shared)
        self.sitting: list[Seat] = []
        self.lost: list[Seat] = []

    async def takes(self, limits: Limits) -> bool:
        """Whether somebody got a seat."""
        taken: list[Seat] = []
        seat = await self.take(limits, partial(self._goes, taken))
        if seat is None:
            return False
        taken.append(seat)
        self.sitting.append(seat)
        return True

    def leaves(self, holders: Iterable[str]) -> None:
        """One who has a seat of exactly these holders gives it back, the first who came."""
        found = next(each for each in self.sitting if {*each.limits} == {*holders})
        self.sitting.remove(found)
        self.release(found)

    def _goes(self, taken: list[Seat]) -> None:
        [seat] = taken
        self.sitting.remove(seat)
        self.lost.append(seat)
        self.release(seat)  # as a socket does when it has closed


@asynccontextmanager
async def processes(count: int, url: str = "") -> AsyncIterator[list[Room]]:
    """The seats of so many, ended as a process that dies: nobody is told."""
    from quotes.streaming.redis_seats import RedisSeats

    made = [Room(RedisSeats(url or settings.REDIS_URL)) for _ in range(count)]
    try:
        yield made
    finally:
        for each in made:
            if each._telling is not None:
                each._telling.cancel()


def redis() -> Any:
    from redis import Redis

    return Redis.from_url(settings.REDIS_URL)


def life_of(seats: Seats) -> str:
    """The key that is there while this process lives."""
    return f"openbell:seats:@{seats._shared._name}"  # type: ignore[union-attr]


def counted(holder: str) -> int:
    """How many seats of a holder count in Redis."""
    with redis() as operator:
        held = operator.hgetall(f"openbell:seats:{holder}")
        alive = [name for name in held if operator.get(f"openbell:seats:@{name.decode()}") == b"+"]
    return sum(int(held[name]) for name in alive)
