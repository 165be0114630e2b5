"""`/public/…`: what everybody may see and the edge may keep, so one answer serves all who ask.

No key, no cookie, no limit: an answer depends on its address alone. Each address has one way to be
written (known parameters only, symbols sorted, each once), or a cache would fill with the same
answer under many names. The quotes are for display; what decides by a quote reads `/v2/`.
"""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from quotes import listings
from quotes.api import schemas
from quotes.api.fields import BadParameter, QuerySerializer, SymbolsField
from quotes.api.latest import latest_quotes

SYMBOLS_MAX = 50
SHOWN = ("symbol", "name", "exchange", "status", "tradable")


class PublicView(APIView):
    """Asks nobody who they are, and counts nobody's requests."""

    authentication_classes = ()
    permission_classes = ()
    throttle_classes = ()


class ExactQuery(QuerySerializer):
    """A query string that may be written one way only."""

    @classmethod
    def read(cls, request: Request) -> dict[str, Any]:
        given = request.query_params
        names = list(cls().fields)
        if sorted(given) != names or any(len(values) > 1 for _, values in given.lists()):
            raise BadParameter(f"the parameters are {names or 'none'}, each once")
        return super().read(request)


class NoQuery(ExactQuery):
    pass


class DisplayQuery(ExactQuery):
    symbols = SymbolsField(help_text="AAPL,MSFT: sorted, each once, at most 50")

    @classmethod
    def read(cls, request: Request) -> dict[str, Any]:
        query = super().read(request)
        exact = ",".join(query["symbols"])
        if len(query["symbols"]) > SYMBOLS_MAX:
            raise BadParameter(f"invalid symbols: at most {SYMBOLS_MAX}")
        if request.META["QUERY_STRING"] not in (f"symbols={exact}", f"symbols={_escaped(exact)}"):
            raise BadParameter("invalid symbols: write them in capitals, sorted, each once")
        return query


class Listing(serializers.Serializer):
    symbol = serializers.CharField()
    name = serializers.CharField()
    exchange = serializers.CharField()
    status = serializers.CharField()
    tradable = serializers.BooleanField()


class MarketList(serializers.Serializer):
    assets = Listing(many=True)


class PublicMarket(PublicView):
    @extend_schema(
        operation_id="list_public_market",
        summary="What is traded here",
        description="Kept by browsers and the edge for 60 seconds.",
        responses=MarketList,
        auth=[],
    )
    def get(self, request: Request) -> Response:
        NoQuery.read(request)
        shown = [{name: asset[name] for name in SHOWN} for asset in listings.assets()]
        return Response({"assets": shown})


class PublicQuotes(PublicView):
    @extend_schema(
        operation_id="list_public_quotes",
        summary="Quotes for display",
        description="Kept by browsers and the edge for 5 seconds.",
        parameters=[DisplayQuery],
        responses=schemas.LatestQuotesAnswer,
        auth=[],
    )
    def get(self, request: Request) -> Response:
        return Response({"quotes": latest_quotes(DisplayQuery.read(request)["symbols"])})


def _escaped(symbols: str) -> str:
    """As browsers write it, who escape commas and slashes."""
    return symbols.replace(",", "%2C").replace("/", "%2F")
