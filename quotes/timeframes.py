"""The lengths a bar can have, and where bars of each length begin.

Stored are minutes and days; every other length is made of them. Bars of minutes align to the hour,
bars of hours to the New York day, weeks begin on Monday and months on the 1st, several months align
to January. Labels of hours and minutes are their instants, of everything longer midnight New York.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from events.errors import Invalid
from quotes.bars import DAY, MINUTE, midnight
from quotes.calendar import NEW_YORK

_UNITS = {"T": "Min", "Min": "Min", "H": "Hour", "Hour": "Hour", "D": "Day", "Day": "Day",
          "W": "Week", "Week": "Week", "M": "Month", "Month": "Month"}  # fmt: skip
_COUNTS = {
    "Min": range(1, 60),
    "Hour": range(1, 24),
    "Day": (1,),
    "Week": (1,),
    "Month": (1, 2, 3, 4, 6, 12),
}
_TIMEFRAME = re.compile(r"(\d{1,2})([A-Z][a-z]*)", re.ASCII)


class InvalidTimeframe(Invalid):
    """Not a length that bars can have."""

    http_status = 400
    message = "invalid timeframe"


@dataclass(frozen=True, slots=True)
class BarLength:
    """The length of bars: 1Min to 59Min, 1Hour to 23Hour, 1Day, 1Week, 1 to 12Month."""

    count: int
    unit: str

    def __str__(self) -> str:
        return f"{self.count}{self.unit}"

    @property
    def stored(self) -> str:
        """The stored bars that bars of this length are made of."""
        return MINUTE if self.unit in ("Min", "Hour") else DAY

    @property
    def is_stored(self) -> bool:
        return str(self) == self.stored

    def label(self, start: int) -> int:
        """The start of the bar that an instant belongs to; both in epoch seconds."""
        if self.unit == "Min":
            minute = start // 60 % 60
            return start - start % 60 - minute % self.count * 60
        local = _new_york(start)
        if self.unit == "Hour":
            # Hours of one are told apart even where the clock is set back and one comes twice.
            if self.count == 1:
                return start - start % 3600
            return _hour(local.date(), local.hour - local.hour % self.count)
        return midnight(self._first_day(local.date()))

    def end(self, label: int) -> int:
        """Where the bar of a label ends: the first second that is not in it."""
        if self.unit == "Min":
            return min(label + self.count * 60, label - label % 3600 + 3600)
        local = _new_york(label)
        on = local.date()
        if self.unit == "Hour":
            return label + 3600 if self.count == 1 else _hour(on, local.hour + self.count)
        if self.unit == "Month":
            months = on.year * 12 + on.month - 1 + self.count
            return midnight(date(months // 12, months % 12 + 1, 1))
        return midnight(on + timedelta(days=7 if self.unit == "Week" else 1))

    def _first_day(self, on: date) -> date:
        if self.unit == "Week":
            return on - timedelta(days=on.weekday())
        if self.unit == "Month":
            return date(on.year, (on.month - 1) // self.count * self.count + 1, 1)
        return on


def _new_york(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC).astimezone(NEW_YORK)


def _hour(on: date, hour: int) -> int:
    """An hour of a New York day in epoch seconds; hours past its end are the next midnight."""
    if hour >= 24:
        return midnight(on + timedelta(days=1))
    return int(datetime.combine(on, time(hour), NEW_YORK).timestamp())


def parse_timeframe(text: str) -> BarLength:
    """A timeframe as clients write it: 5Min or 5T, 1Hour or 1H, 1D, 1W, 3M. InvalidTimeframe."""
    match = _TIMEFRAME.fullmatch(text)
    unit = _UNITS.get(match[2]) if match else None
    if match is None or unit is None or int(match[1]) not in _COUNTS[unit]:
        raise InvalidTimeframe(f"invalid timeframe: {text[:20]}")
    return BarLength(int(match[1]), unit)
