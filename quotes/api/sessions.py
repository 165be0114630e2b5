"""`/v2/clock` and `/v2/calendar`: what time it is in the market, and on which days it opens."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from events.errors import Invalid
from quotes.api.fields import CalendarDateField, QuerySerializer
from quotes.calendar import NEW_YORK, Calendar, TradingDay
from quotes.clock import market_clock

# The range that the contract names for a request without bounds.
FIRST_DAY = date(1970, 1, 1)
LAST_DAY = date(2029, 12, 31)


class ClockAnswer(serializers.Serializer):
    timestamp = serializers.DateTimeField(help_text="market time")
    is_open = serializers.BooleanField(help_text="whether the regular session is on")
    next_open = serializers.DateTimeField()
    next_close = serializers.DateTimeField()


class CalendarQuery(QuerySerializer):
    error = Invalid

    start = CalendarDateField(default=FIRST_DAY, help_text="first day, inclusive")
    end = CalendarDateField(default=LAST_DAY, help_text="last day, inclusive")
    date_type = serializers.CharField(required=False, help_text="accepted and ignored")


class Day(serializers.Serializer):
    date = serializers.DateField()
    open = serializers.CharField(help_text="HH:MM in New York")
    close = serializers.CharField(help_text="HH:MM in New York")
    session_open = serializers.CharField(help_text="HHMM")
    session_close = serializers.CharField(help_text="HHMM")
    settlement_date = serializers.DateField()


class MarketClockView(APIView):
    permission_classes = [IsAuthenticated]

    @extend_schema(operation_id="get_clock", summary="The market clock", responses=ClockAnswer)
    def get(self, request: Request) -> Response:
        clock = market_clock()
        now = clock.now()
        return Response(
            {
                "timestamp": _eastern(now),
                "is_open": clock.is_open(),
                "next_open": _eastern(clock.calendar.next_open(now)),
                "next_close": _eastern(clock.calendar.next_close(now)),
            }
        )


class MarketCalendarView(APIView):
    permission_classes = [IsAuthenticated]

    @extend_schema(
        operation_id="list_trading_days",
        summary="Trading days",
        parameters=[CalendarQuery],
        responses=Day(many=True),
    )
    def get(self, request: Request) -> Response:
        query = CalendarQuery.read(request)
        calendar = market_clock().calendar
        days = calendar.days(max(query["start"], FIRST_DAY), min(query["end"], LAST_DAY))
        return Response([_day_json(calendar, day) for day in days])


def _day_json(calendar: Calendar, day: TradingDay) -> dict[str, Any]:
    return {
        "date": day.date.isoformat(),
        "open": _time_of_day(day, day.open_at, "%H:%M"),
        "close": _time_of_day(day, day.close_at, "%H:%M"),
        "session_open": _time_of_day(day, day.pre_at, "%H%M"),
        "session_close": _time_of_day(day, day.after_at, "%H%M"),
        "settlement_date": calendar.settlement_date(day.date).isoformat(),
    }


def _time_of_day(day: TradingDay, instant: datetime, pattern: str) -> str:
    """The instant as New York wall time of its day.

    The wire has no 24:00, so a session that runs to midnight is said to close at 23:59.
    """
    local = instant.astimezone(NEW_YORK)
    if local.date() > day.date:
        local -= timedelta(minutes=1)
    return local.strftime(pattern)


def _eastern(instant: datetime) -> str:
    return instant.astimezone(NEW_YORK).isoformat()
