"""Where the prices of the simulated market are: a function of seed and time, nothing else.

The logarithm of each price returns slowly to the listing's own level, so that the market looks
plausible after years, and its daily steps share a factor of the market and one of the sector, so
that instruments move together. Days are a chain from a fixed anchor; within a day the path is a
Brownian bridge over its minutes, within a minute one over its seconds. Every piece draws from a
generator seeded by what it is the piece of. So any instant can be asked for at once: a restart goes
on where the market would be, history ends where the live market begins, and the same seed is the
same market.
"""

from __future__ import annotations

from datetime import date, timedelta
from functools import lru_cache
from math import exp, sqrt
from random import Random

from quotes.bars import midnight
from quotes.feeds.listings import LISTINGS, Listing

ANCHOR = date(2015, 1, 1)  # every listing stands at its own level there

# What is left of a departure from the level after a day: half of it after some four months. With a
# daily volatility of 1.5 % a price then stays within 30 % of its level, 19 times in 20.
KEPT_PER_DAY = 0.9943

# How a daily step is shared; the squares add up to one.
MARKET_SHARE = 0.55
SECTOR_SHARE = 0.35
OWN_SHARE = 0.758

SECTORS = tuple(sorted({listing.sector for listing in LISTINGS}))

# Activity by hour of the New York day: mild, for this market never closes.
_HOURLY_ACTIVITY = (
    0.72, 0.68, 0.66, 0.66, 0.70, 0.76, 0.84, 0.94, 1.10, 1.54, 1.50, 1.28,
    1.16, 1.12, 1.16, 1.42, 1.38, 1.08, 0.98, 0.95, 0.91, 0.87, 0.82, 0.77,
)  # fmt: skip


class PricePaths:
    """The paths of all listings for one seed; logarithms relative to the listing's own price."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._levels = [[0.0] * len(LISTINGS)]  # at midnight of ANCHOR and of the days after it
        self.minute_levels = lru_cache(maxsize=2 * len(LISTINGS))(self._minute_levels)
        self._shared_walk = lru_cache(maxsize=4 * (len(SECTORS) + 1))(self._walk)

    def generator(self, *piece: object) -> Random:
        """The random numbers of one piece of the market, the same ones each time."""
        return Random("/".join(map(str, (self.seed, *piece))))

    def day_level(self, on: date, index: int) -> float:
        """Where a listing stands at midnight New York of a date; ValueError before the anchor."""
        number = (on - ANCHOR).days
        if number < 0:
            raise ValueError(f"the simulated market begins on {ANCHOR}, {on} is before that")
        while len(self._levels) <= number:
            self._levels.append(self._next_levels())
        return self._levels[number][index]

    def second_levels(self, start: float, end: float, sd: float, draw: Random) -> list[float]:
        """Where a listing stands at each second of a minute, both ends included."""
        return _bridge(_walk_of(draw, 60), start, end, sd)

    def hour_levels(self, start: float, end: float, sd: float, draw: Random) -> list[float]:
        """A day seen once an hour, both midnights included."""
        return _bridge(_walk_of(draw, 24), start, end, sd)

    def _next_levels(self) -> list[float]:
        draw = self.generator(ANCHOR + timedelta(days=len(self._levels) - 1))
        market = draw.gauss(0, 1)
        sectors = {sector: draw.gauss(0, 1) for sector in SECTORS}
        return [
            KEPT_PER_DAY * level
            + listing.volatility / 100 * (
                MARKET_SHARE * market
                + SECTOR_SHARE * sectors[listing.sector]
                + OWN_SHARE * draw.gauss(0, 1)
            )
            for level, listing in zip(self._levels[-1], LISTINGS, strict=True)
        ]  # fmt: skip

    def _minute_levels(self, on: date, index: int) -> list[float]:
        """Where a listing stands at each minute of a day, both midnights included."""
        listing = LISTINGS[index]
        after = on + timedelta(days=1)
        minutes = (midnight(after) - midnight(on)) // 60
        market = self._shared_walk(on, "market", minutes)
        sector = self._shared_walk(on, listing.sector, minutes)
        own = self._walk(on, listing.symbol, minutes)
        walk = [
            MARKET_SHARE * a + SECTOR_SHARE * b + OWN_SHARE * c
            for a, b, c in zip(market, sector, own, strict=True)
        ]
        ends = self.day_level(on, index), self.day_level(after, index)
        return _bridge(walk, *ends, listing.volatility / 100)

    def _walk(self, on: date, name: str, steps: int) -> list[float]:
        return _walk_of(self.generator(on, name), steps)


def price_of(listing: Listing, level: float) -> float:
    """The price in USD that a level stands for."""
    return listing.price * exp(level)


def activity_at(part_of_day: float) -> float:
    """How busy the market is, 1 on average; the argument runs from midnight 0 to midnight 1."""
    hour = part_of_day * 24 - 0.5  # the table holds the middle of each hour
    before = int(hour // 1)
    part = hour - before
    return (1 - part) * _HOURLY_ACTIVITY[before % 24] + part * _HOURLY_ACTIVITY[(before + 1) % 24]


def _walk_of(draw: Random, steps: int) -> list[float]:
    """A random walk from 0 whose end has a standard deviation of 1."""
    gauss, sd = draw.gauss, 1 / sqrt(steps)
    at = 0.0
    walk = [at]
    for _ in range(steps):
        at += gauss(0.0, sd)
        walk.append(at)
    return walk


def _bridge(walk: list[float], start: float, end: float, sd: float) -> list[float]:
    """The walk, scaled by `sd` and tilted so that it leads from start to end."""
    steps = len(walk) - 1
    slope = (end - start - sd * walk[-1]) / steps
    return [start + slope * n + sd * at for n, at in enumerate(walk)]
