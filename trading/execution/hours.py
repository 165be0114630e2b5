"""Which session the market is in, how long it lasts, and who may trade in it."""

from __future__ import annotations

from quotes.calendar import Calendar, Session
from quotes.ticks import to_instant, to_micros
from trading.execution.matching import WorkingOrder
from trading.sessions import EXTENDED, may_trade


class Hours:
    """The session at an instant that only moves forward; instants are market microseconds."""

    def __init__(self, calendar: Calendar, at_us: int) -> None:
        self._calendar = calendar
        self.enter(at_us)

    def enter(self, at_us: int) -> None:
        """Be in the session of this instant; `began_us` <= at_us < `ends_us`."""
        instant = to_instant(at_us)
        day = self._calendar.current_day(instant)
        marks = (day.overnight_at, day.pre_at, day.open_at, day.close_at, day.after_at)
        self.session: Session = day.session_at(instant)
        self.began_us: int = max((to_micros(mark) for mark in marks if mark <= instant), default=0)
        self.ends_us: int = min(to_micros(mark) for mark in marks if mark > instant)

    @property
    def anyone_may_trade(self) -> bool:
        return self.session in EXTENDED

    @property
    def everyone_may_trade(self) -> bool:
        return self.session is Session.REGULAR

    def may_trade(self, order: WorkingOrder) -> bool:
        return may_trade(self.session, extended_hours=order.extended_hours)
