"""`/v2/watchlists`, by id and, with a colon in the path, by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from portfolios import watchlists
from portfolios.api import schemas
from portfolios.errors import WatchlistNotFound
from portfolios.models import Watchlist
from portfolios.wire import watchlist_json
from quotes.models import Instrument
from quotes.queries import get_instrument


class WatchlistList(APIView):
    @extend_schema(
        operation_id="list_watchlists",
        summary="All watchlists",
        responses=schemas.Watchlist(many=True),
    )
    def get(self, request: Request) -> Response:
        found = watchlists.account_watchlists(request.auth.account_id)
        return Response([watchlist_json(watchlist) for watchlist in found])

    @extend_schema(
        operation_id="create_watchlist",
        summary="Create a watchlist",
        request=schemas.NewWatchlist,
        responses=schemas.Watchlist,
    )
    def post(self, request: Request) -> Response:
        given = _given(schemas.NewWatchlist, request.data)
        created = watchlists.create_watchlist(
            account_id=request.auth.account_id,
            name=given["name"],
            instruments=_instruments(given.get("symbols")) or (),
        )
        return Response(watchlist_json(created))


class _OneWatchlist(APIView):
    """What can be done to one watchlist, however it was found."""

    def find(self, request: Request, **which: Any) -> Watchlist:
        raise NotImplementedError

    @extend_schema(summary="One watchlist", responses=schemas.Watchlist)
    def get(self, request: Request, **which: Any) -> Response:
        return Response(watchlist_json(self.find(request, **which)))

    @extend_schema(
        summary="Rename a watchlist, replace its symbols, or both",
        request=schemas.WatchlistChange,
        responses=schemas.Watchlist,
    )
    def put(self, request: Request, **which: Any) -> Response:
        given = _given(schemas.WatchlistChange, request.data)
        changed = watchlists.replace_watchlist(
            watchlist=self.find(request, **which),
            name=given.get("name"),
            instruments=_instruments(given.get("symbols")),
        )
        return Response(watchlist_json(changed))

    @extend_schema(
        summary="Append a symbol to a watchlist",
        request=schemas.WatchlistSymbol,
        responses=schemas.Watchlist,
    )
    def post(self, request: Request, **which: Any) -> Response:
        given = _given(schemas.WatchlistSymbol, request.data)
        changed = watchlists.add_instrument(
            watchlist=self.find(request, **which), instrument=get_instrument(given["symbol"])
        )
        return Response(watchlist_json(changed))

    @extend_schema(summary="Delete a watchlist", responses={204: None})
    def delete(self, request: Request, **which: Any) -> Response:
        watchlists.delete_watchlist(watchlist=self.find(request, **which))
        return Response(status=204)


class WatchlistDetail(_OneWatchlist):
    def find(self, request: Request, **which: Any) -> Watchlist:
        return _by_id(request, which["watchlist_id"])


@extend_schema(parameters=[schemas.WatchlistName])
class WatchlistByName(_OneWatchlist):
    def find(self, request: Request, **which: Any) -> Watchlist:
        given = _given(schemas.WatchlistName, request.query_params)
        return watchlists.get_watchlist_by_name(request.auth.account_id, given["name"])


class WatchlistEntryDetail(APIView):
    @extend_schema(
        operation_id="remove_watchlist_symbol",
        summary="Take a symbol off a watchlist",
        responses={200: schemas.Watchlist},
    )
    def delete(self, request: Request, watchlist_id: str, symbol: str) -> Response:
        changed = watchlists.remove_instrument(
            watchlist=_by_id(request, watchlist_id), instrument=get_instrument(symbol)
        )
        return Response(watchlist_json(changed))


def _by_id(request: Request, watchlist_id: str) -> Watchlist:
    try:
        public_id = UUID(watchlist_id)
    except ValueError:
        raise WatchlistNotFound from None
    return watchlists.get_watchlist(request.auth.account_id, public_id)


def _given(shape: type[serializers.Serializer], data: Any) -> dict[str, Any]:
    serializer = shape(data=data)
    serializer.is_valid(raise_exception=True)
    return serializer.validated_data


def _instruments(symbols: Sequence[str] | None) -> list[Instrument] | None:
    """The instruments in the order asked for; None stands for "leave them as they are"."""
    return None if symbols is None else [get_instrument(symbol) for symbol in symbols]
