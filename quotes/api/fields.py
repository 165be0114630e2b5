"""Query parameters of market data: how they are written, and what is too much.

A wrong one is answered with 400, as Alpaca's data service does. Its trading service says 422.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request

from events.errors import Invalid
from quotes.calendar import NEW_YORK

SYMBOLS_MAX = 1000
SYMBOL = re.compile(r"[A-Z][A-Z0-9./-]{0,15}")
FEEDS = ("sip", "iex", "otc", "delayed_sip", "boats", "overnight", "test")
DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
INSTANT = re.compile(
    r"(\d{4}-\d{2}-\d{2})[Tt ](\d{2}:\d{2}:\d{2})(?:\.(\d{1,9})\d*)?([Zz]|[+-]\d{2}:\d{2})"
)


class BadParameter(Invalid):
    """A query parameter that cannot be read."""

    http_status = 400


class QuerySerializer(serializers.Serializer):
    """The query string of one endpoint; what it does not name is ignored."""

    error: type[Invalid] = BadParameter

    @classmethod
    def read(cls, request: Request) -> dict[str, Any]:
        """The parameters, typed. Raises `error`, naming the first that is wrong."""
        # An empty value is an absent one: clients write `page_token=` on the first page.
        given = {name: value for name, value in request.query_params.items() if value != ""}
        query = cls(data=given)
        if not query.is_valid():
            name, messages = next(iter(query.errors.items()))
            raise cls.error(f"invalid {name}: {messages[0]}")
        return query.validated_data


class FeedQuery(QuerySerializer):
    """What every data request may say, and what does not matter here: there is one market."""

    feed = serializers.ChoiceField(FEEDS, required=False, help_text="accepted and ignored")
    currency = serializers.CharField(required=False, max_length=8, help_text="accepted; it is USD")


@extend_schema_field(OpenApiTypes.STR)
class SymbolsField(serializers.Field):
    """`AAPL,MSFT`: sorted, each once."""

    def to_internal_value(self, data: Any) -> list[str]:
        symbols = {part.strip().upper() for part in str(data).split(",") if part.strip()}
        if not symbols:
            raise serializers.ValidationError("at least one symbol is required")
        if len(symbols) > SYMBOLS_MAX:
            raise serializers.ValidationError(f"at most {SYMBOLS_MAX} symbols")
        try:
            return sorted(read_symbol(symbol) for symbol in symbols)
        except BadParameter as error:
            raise serializers.ValidationError(error.message) from None


@extend_schema_field(OpenApiTypes.DATETIME)
class InstantField(serializers.Field):
    """RFC 3339 with any fraction, or a plain date, which is a whole New York day.

    `ends_day` says which end of that day is meant, so that a date as an inclusive end includes it.
    """

    def __init__(self, *, ends_day: bool = False, **kwargs: Any) -> None:
        self.ends_day = ends_day
        super().__init__(**kwargs)

    def to_internal_value(self, data: Any) -> datetime:
        try:
            return read_instant(str(data), ends_day=self.ends_day)
        except (ValueError, OverflowError):
            raise serializers.ValidationError("neither an RFC 3339 time nor a date") from None


@extend_schema_field(OpenApiTypes.DATE)
class CalendarDateField(serializers.Field):
    """A date, or an instant whose written date counts: JS clients send full timestamps."""

    def to_internal_value(self, data: Any) -> date:
        try:
            text = str(data)
            if not DATE.fullmatch(text):
                read_instant(text)
            return date.fromisoformat(text[:10])
        except (ValueError, OverflowError):
            raise serializers.ValidationError("neither a date nor an RFC 3339 time") from None


def read_symbol(text: str) -> str:
    """The symbol as we write it. Raises BadParameter when it cannot be one."""
    symbol = text.upper()
    if not SYMBOL.fullmatch(symbol):
        raise BadParameter(f"“{text[:20]}” is no symbol")
    return symbol


def read_instant(text: str, *, ends_day: bool = False) -> datetime:
    """The instant in UTC, to the microsecond. ValueError or OverflowError when it is none."""
    if DATE.fullmatch(text):
        day = date.fromisoformat(text)
        if ends_day:
            next_midnight = datetime.combine(day + timedelta(days=1), time(), NEW_YORK)
            return next_midnight.astimezone(UTC) - timedelta(microseconds=1)
        return datetime.combine(day, time(), NEW_YORK).astimezone(UTC)
    # An offset's plus sign that was not percent-encoded arrives as a space.
    match = INSTANT.fullmatch(re.sub(r" (\d{2}:\d{2})$", r"+\1", text))
    if match is None:
        raise ValueError(f"{text} is no instant")
    day_text, clock, fraction, offset = match.groups()
    micros = (fraction or "")[:6].ljust(6, "0")
    offset = "+00:00" if offset in "Zz" else offset
    return datetime.fromisoformat(f"{day_text}T{clock}.{micros}{offset}").astimezone(UTC)
