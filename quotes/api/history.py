"""`/v2/stocks/{bars,quotes,trades}`: what the market said, page by page.

Items are ordered by symbol, then time, and a page's limit counts them over all symbols. Nothing
later than market time is shown, whatever is stored: a replay does not know its future.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, time
from typing import Any, NamedTuple

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from quotes import finished_bars, history
from quotes.api import schemas
from quotes.api.fields import (
    BadParameter,
    FeedQuery,
    InstantField,
    QuerySerializer,
    SymbolsField,
    read_symbol,
)
from quotes.api.paging import read_token, write_token
from quotes.calendar import NEW_YORK
from quotes.clock import market_clock
from quotes.splits import Split, splits_of
from quotes.streaming.codec import Message, Stamp, bar_item, quote_item, rfc3339, trade_item
from quotes.tick_history import store
from quotes.ticks import MICROSECONDS, to_instant, to_micros
from quotes.timeframes import parse_timeframe

ITEMS_MAX = 10_000
KEPT = "Kept for a day, or for as long as the operator has set; not after market time."
ADJUSTED = frozenset({"split", "all"})
EPOCH = to_instant(0)  # nothing is older, and calendars end somewhere


class HistoryQuery(FeedQuery):
    start = InstantField(required=False, help_text="inclusive; else the start of the market's day")
    end = InstantField(required=False, ends_day=True, help_text="inclusive; else market time")
    limit = serializers.IntegerField(
        default=1000, min_value=1, max_value=ITEMS_MAX, help_text="items over all symbols"
    )
    page_token = serializers.CharField(
        required=False, max_length=200, help_text="`next_page_token` of the page before"
    )
    sort = serializers.ChoiceField(["asc", "desc"], default="asc")
    asof = serializers.CharField(required=False, help_text="accepted and ignored")


class BarsQuery(HistoryQuery):
    timeframe = serializers.CharField(
        help_text="1 to 59Min, 1 to 23Hour, 1Day, 1Week, 1 to 12Month"
    )
    adjustment = serializers.CharField(
        required=False,
        help_text="raw (default); split or all: as they count after the splits since; anything"
        " else is accepted and raw",
    )


class SymbolsQuery(QuerySerializer):
    symbols = SymbolsField(help_text="AAPL,MSFT")


class BarsOfSymbolsQuery(SymbolsQuery, BarsQuery):
    pass


class HistoryOfSymbolsQuery(SymbolsQuery, HistoryQuery):
    pass


class Page(NamedTuple):
    """Items by symbol; a symbol without any is left out."""

    items: dict[str, list[dict[str, Any]]]
    next_page_token: str | None

    def answer(self, name: str) -> Response:
        return Response({name: self.items, "next_page_token": self.next_page_token})

    def answer_for(self, symbol: str, name: str) -> Response:
        """Of a request for this one symbol."""
        items = self.items.get(symbol, [])
        token = self.next_page_token
        return Response({name: items, "symbol": symbol, "next_page_token": token})


class Bars(APIView):
    permission_classes = [IsAuthenticated]

    @extend_schema(
        operation_id="list_bars",
        summary="Bars of several symbols",
        parameters=[BarsOfSymbolsQuery],
        responses=schemas.BarsPage,
    )
    def get(self, request: Request) -> Response:
        query = BarsOfSymbolsQuery.read(request)
        return bars_page(query["symbols"], query).answer("bars")


class SymbolBars(APIView):
    permission_classes = [IsAuthenticated]

    @extend_schema(
        operation_id="list_symbol_bars",
        summary="Bars of one symbol",
        parameters=[BarsQuery],
        responses=schemas.SymbolBarsPage,
    )
    def get(self, request: Request, symbol: str) -> Response:
        symbol = read_symbol(symbol)
        return bars_page([symbol], BarsQuery.read(request)).answer_for(symbol, "bars")


class Quotes(APIView):
    permission_classes = [IsAuthenticated]

    @extend_schema(
        operation_id="list_quotes",
        summary="Quotes of several symbols",
        description=KEPT,
        parameters=[HistoryOfSymbolsQuery],
        responses=schemas.QuotesPage,
    )
    def get(self, request: Request) -> Response:
        query = HistoryOfSymbolsQuery.read(request)
        return quotes_page(query["symbols"], query).answer("quotes")


class SymbolQuotes(APIView):
    permission_classes = [IsAuthenticated]

    @extend_schema(
        operation_id="list_symbol_quotes",
        summary="Quotes of one symbol",
        description=KEPT,
        parameters=[HistoryQuery],
        responses=schemas.SymbolQuotesPage,
    )
    def get(self, request: Request, symbol: str) -> Response:
        symbol = read_symbol(symbol)
        return quotes_page([symbol], HistoryQuery.read(request)).answer_for(symbol, "quotes")


class Trades(APIView):
    permission_classes = [IsAuthenticated]

    @extend_schema(
        operation_id="list_trades",
        summary="Trades of several symbols",
        description=KEPT,
        parameters=[HistoryOfSymbolsQuery],
        responses=schemas.TradesPage,
    )
    def get(self, request: Request) -> Response:
        query = HistoryOfSymbolsQuery.read(request)
        return trades_page(query["symbols"], query).answer("trades")


class SymbolTrades(APIView):
    permission_classes = [IsAuthenticated]

    @extend_schema(
        operation_id="list_symbol_trades",
        summary="Trades of one symbol",
        description=KEPT,
        parameters=[HistoryQuery],
        responses=schemas.SymbolTradesPage,
    )
    def get(self, request: Request, symbol: str) -> Response:
        symbol = read_symbol(symbol)
        return trades_page([symbol], HistoryQuery.read(request)).answer_for(symbol, "trades")


def bars_page(symbols: list[str], query: dict[str, Any]) -> Page:
    """A page of bars of the length that the query names."""
    length = parse_timeframe(query["timeframe"])
    begin, end = _range(query)
    start = -(-to_micros(begin) // MICROSECONDS)  # rounded up: the bar must begin within the range
    last = to_micros(end) // MICROSECONDS
    limit, descending = query["limit"], query["sort"] == "desc"
    position = _position(symbols, query, numbers=1)
    splits = _splits(symbols, query)
    bars, after = finished_bars.page(
        length,
        last,
        limit,
        (sorted(symbols), start, position, descending, splits),
        lambda: history.bars(
            symbols,
            length,
            start,
            last,
            limit=limit,
            after=position,
            descending=descending,
            until=to_micros(market_clock().now()) // MICROSECONDS,
            splits=splits,
        ),
    )
    items: dict[str, list[dict[str, Any]]] = {}
    for bar in bars:
        items.setdefault(bar.symbol, []).append(bar_item(bar, rfc3339))
    return Page(items, write_token(after))


def _splits(symbols: list[str], query: dict[str, Any]) -> list[Split]:
    """The splits that the bars asked for are adjusted by."""
    if query.get("adjustment", "raw").lower() not in ADJUSTED:
        return []
    return splits_of(set(history.instrument_ids(symbols).values()))


def quotes_page(symbols: list[str], query: dict[str, Any]) -> Page:
    """A page of the quotes that the tick history keeps."""
    return _ticks_page(store.QUOTES, quote_item, symbols, query)


def trades_page(symbols: list[str], query: dict[str, Any]) -> Page:
    """A page of the trades that the tick history keeps."""
    return _ticks_page(store.TRADES, trade_item, symbols, query)


def _ticks_page(
    kind: store.Kind,
    item: Callable[[Any, Stamp], Message],
    symbols: list[str],
    query: dict[str, Any],
) -> Page:
    start, end = _range(query)
    found = store.page(
        kind,
        symbols,
        to_micros(start),
        to_micros(end),
        limit=query["limit"],
        after=_position(symbols, query, numbers=2),
        descending=query["sort"] == "desc",
    )
    items: dict[str, list[Message]] = {}
    for tick in found.ticks:
        items.setdefault(tick.symbol, []).append(item(tick, rfc3339))
    return Page(items, write_token(found.after))


def _range(query: dict[str, Any]) -> tuple[datetime, datetime]:
    """First and last instant asked for, the last not after market time."""
    now = market_clock().now()
    end = query.get("end", now)
    start = query.get("start")
    if start is None:
        start = datetime.combine(now.astimezone(NEW_YORK).date(), time(), NEW_YORK)
    elif end < start and "end" in query:
        raise BadParameter("end is before start")
    return max(start, EPOCH), min(end, now)


def _position(symbols: list[str], query: dict[str, Any], *, numbers: int) -> Any:
    """Where the page before ended, as its token says with so many numbers; None on the first."""
    token = query.get("page_token")
    return None if token is None else read_token(token, symbols, numbers)
