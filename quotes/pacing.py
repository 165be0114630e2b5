"""How fast a replay's market time should move: pure arithmetic on instants that are passed in."""

from __future__ import annotations

from dataclasses import dataclass, replace

from quotes.ticks import MICROSECONDS

SPEED_MIN = 0.1
SPEED_MAX = 1000.0

# A machine that falls further behind than this does not race to catch up: the schedule slips, and
# the market is as slow as the machine (or was asleep with it).
LAG_SECONDS_MAX = 5.0


@dataclass(frozen=True, slots=True)
class Pace:
    """A schedule: market time `at_us` at wall time `since` (seconds), and from there at `speed`."""

    since: float
    at_us: int
    speed: float = 1.0
    paused: bool = False

    def target_us(self, wall: float) -> int:
        """The market time that the schedule asks for at this wall time; never before `at_us`."""
        if self.paused:
            return self.at_us
        return self.at_us + int(max(wall - self.since, 0.0) * self.speed * MICROSECONDS)

    def wall_of(self, market_us: int) -> float:
        """When the schedule reaches this market time; infinity while paused."""
        if self.paused:
            return float("inf")
        return self.since + (market_us - self.at_us) / (self.speed * MICROSECONDS)

    def lag_seconds(self, wall: float, watermark_us: int) -> float:
        """How many wall seconds the watermark is behind the schedule; 0 when it is ahead."""
        behind_us = self.target_us(wall) - watermark_us
        return max(behind_us, 0) / (self.speed * MICROSECONDS)

    def changed(self, wall: float, watermark_us: int, *, speed: float, paused: bool) -> Pace:
        """The schedule from now on at another speed; itself where nothing changed."""
        if (speed, paused) == (self.speed, self.paused):
            return self
        return Pace(wall, watermark_us, speed, paused)

    def jumped(self, wall: float, to_us: int) -> Pace:
        """The same pace, going on from `to_us`."""
        return replace(self, since=wall, at_us=to_us)

    def slipped(self, wall: float, watermark_us: int) -> Pace:
        """The schedule, put off until the lag is at most `LAG_SECONDS_MAX`."""
        too_late = self.lag_seconds(wall, watermark_us) - LAG_SECONDS_MAX
        return replace(self, since=self.since + too_late) if too_late > 0 else self
