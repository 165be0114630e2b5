"""`/v2/stocks/…/latest` and snapshots: what the market says now."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from events.errors import NotFound
from quotes import history, latest
from quotes.api import schemas
from quotes.api.fields import FeedQuery, SymbolsField, read_symbol
from quotes.clock import market_clock
from quotes.streaming.codec import bar_item, quote_item, rfc3339, trade_item
from quotes.ticks import Bar

Item = dict[str, Any]


class LatestQuery(FeedQuery):
    symbols = SymbolsField(help_text="AAPL,MSFT")


class LatestQuotes(APIView):
    permission_classes = [IsAuthenticated]

    @extend_schema(
        operation_id="list_latest_quotes",
        summary="Latest quotes of several symbols",
        parameters=[LatestQuery],
        responses=schemas.LatestQuotesAnswer,
    )
    def get(self, request: Request) -> Response:
        return Response({"quotes": latest_quotes(LatestQuery.read(request)["symbols"])})


class LatestQuote(APIView):
    permission_classes = [IsAuthenticated]

    @extend_schema(
        operation_id="get_latest_quote",
        summary="Latest quote of one symbol",
        parameters=[FeedQuery],
        responses=schemas.LatestQuoteAnswer,
    )
    def get(self, request: Request, symbol: str) -> Response:
        FeedQuery.read(request)
        symbol = read_symbol(symbol)
        return Response({"symbol": symbol, "quote": _one(latest_quotes([symbol]), symbol, "quote")})


class LatestTrades(APIView):
    permission_classes = [IsAuthenticated]

    @extend_schema(
        operation_id="list_latest_trades",
        summary="Latest trades of several symbols",
        parameters=[LatestQuery],
        responses=schemas.LatestTradesAnswer,
    )
    def get(self, request: Request) -> Response:
        return Response({"trades": latest_trades(LatestQuery.read(request)["symbols"])})


class LatestTrade(APIView):
    permission_classes = [IsAuthenticated]

    @extend_schema(
        operation_id="get_latest_trade",
        summary="Latest trade of one symbol",
        parameters=[FeedQuery],
        responses=schemas.LatestTradeAnswer,
    )
    def get(self, request: Request, symbol: str) -> Response:
        FeedQuery.read(request)
        symbol = read_symbol(symbol)
        return Response({"symbol": symbol, "trade": _one(latest_trades([symbol]), symbol, "trade")})


class LatestBars(APIView):
    permission_classes = [IsAuthenticated]

    @extend_schema(
        operation_id="list_latest_bars",
        summary="Latest finished minute bars of several symbols",
        parameters=[LatestQuery],
        responses=schemas.LatestBarsAnswer,
    )
    def get(self, request: Request) -> Response:
        return Response({"bars": latest_bars(LatestQuery.read(request)["symbols"])})


class LatestBar(APIView):
    permission_classes = [IsAuthenticated]

    @extend_schema(
        operation_id="get_latest_bar",
        summary="Latest finished minute bar of one symbol",
        parameters=[FeedQuery],
        responses=schemas.LatestBarAnswer,
    )
    def get(self, request: Request, symbol: str) -> Response:
        FeedQuery.read(request)
        symbol = read_symbol(symbol)
        return Response({"symbol": symbol, "bar": _one(latest_bars([symbol]), symbol, "bar")})


class Snapshots(APIView):
    permission_classes = [IsAuthenticated]

    @extend_schema(
        operation_id="list_snapshots",
        summary="Snapshots of several symbols",
        parameters=[LatestQuery],
        responses={(200, "application/json"): {"type": "object", "additionalProperties": True}},
    )
    def get(self, request: Request) -> Response:
        return Response(snapshots(LatestQuery.read(request)["symbols"]))


class Snapshot(APIView):
    permission_classes = [IsAuthenticated]

    @extend_schema(
        operation_id="get_snapshot",
        summary="Snapshot of one symbol",
        parameters=[FeedQuery],
        responses=schemas.SnapshotAnswer,
    )
    def get(self, request: Request, symbol: str) -> Response:
        FeedQuery.read(request)
        symbol = read_symbol(symbol)
        return Response({"symbol": symbol, **_one(snapshots([symbol]), symbol, "snapshot")})


def latest_quotes(symbols: list[str]) -> dict[str, Item]:
    """Quotes by symbol; a symbol without one is left out, here and below."""
    return {
        symbol: quote_item(known.quote, rfc3339)
        for symbol, known in latest.get_many(symbols).items()
        if known.quote is not None
    }


def latest_trades(symbols: list[str]) -> dict[str, Item]:
    return {
        symbol: trade_item(known.trade, rfc3339)
        for symbol, known in latest.get_many(symbols).items()
        if known.trade is not None
    }


def latest_bars(symbols: list[str]) -> dict[str, Item]:
    found = history.latest_minute_bars(symbols, market_clock().now())
    return {symbol: bar_item(bar, rfc3339) for symbol, bar in found.items()}


def snapshots(symbols: list[str]) -> dict[str, Item]:
    bars = history.snapshot_bars(symbols, market_clock().now())
    ticks = latest.get_many(symbols)
    found = {}
    for symbol in symbols:
        quote, trade = ticks[symbol]
        item = {
            "latestTrade": trade and trade_item(trade, rfc3339),
            "latestQuote": quote and quote_item(quote, rfc3339),
            "minuteBar": _bar_or_null(bars[symbol].minute),
            "dailyBar": _bar_or_null(bars[symbol].day),
            "prevDailyBar": _bar_or_null(bars[symbol].previous_day),
        }
        if any(item.values()):
            found[symbol] = item
    return found


def _bar_or_null(bar: Bar | None) -> Item | None:
    return None if bar is None else bar_item(bar, rfc3339)


def _one(found: dict[str, Item], symbol: str, name: str) -> Item:
    if symbol not in found:
        raise NotFound(f"no {name} found for {symbol}")
    return found[symbol]
