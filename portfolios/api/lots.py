"""`/v2/positions/{symbol}/lots` and `…/ledger`: what a position is made of. Beyond Alpaca's API."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from events.errors import Invalid
from portfolios import drill_down, queries
from portfolios.api import schemas
from portfolios.api.positions import named_instrument
from portfolios.wire import entry_json, lot_json, totals_json
from quotes.api.fields import QuerySerializer

PAGE_DEFAULT = 100
BIGGEST = 2**63 - 1  # that an id can be


class LotsQuery(QuerySerializer):
    error = Invalid
    page_size = serializers.IntegerField(
        min_value=1, max_value=queries.LOTS_MAX, default=PAGE_DEFAULT
    )
    page_token = serializers.IntegerField(
        min_value=1,
        max_value=BIGGEST,
        required=False,
        help_text="next_page_token of the page before",
    )


class LotList(APIView):
    @extend_schema(
        operation_id="list_lots",
        summary="Open lots of a position, oldest first",
        description="An order may name lots to close by these ids: see `lots` of POST /v2/orders.",
        parameters=[LotsQuery],
        responses=schemas.LotPage,
    )
    def get(self, request: Request, symbol_or_id: str) -> Response:
        query = LotsQuery.read(request)
        lots = queries.lots(
            request.auth.account_id,
            named_instrument(symbol_or_id).pk,
            after=query.get("page_token", 0),
            limit=query["page_size"] + 1,
        )
        shown = lots[: query["page_size"]]
        answer: dict[str, Any] = {
            "lots": [lot_json(lot) for lot in shown],
            "next_page_token": str(shown[-1].pk) if len(lots) > len(shown) else None,
        }
        return Response(answer)


class LedgerQuery(QuerySerializer):
    error = Invalid

    page_size = serializers.IntegerField(
        min_value=1, max_value=drill_down.ENTRIES_MAX, default=drill_down.ENTRIES_MAX
    )
    page_token = serializers.IntegerField(
        min_value=1,
        max_value=BIGGEST,
        required=False,
        help_text="next_page_token of the page before",
    )


class PositionLedger(APIView):
    @extend_schema(
        operation_id="get_position_ledger",
        summary="The transactions behind a position, newest first",
        description="What each did to quantity, cost and realised profit, what they were after it, "
        "and its postings. The changes of all entries add up to the position.",
        parameters=[LedgerQuery],
        responses=schemas.PositionLedger,
    )
    def get(self, request: Request, symbol_or_id: str) -> Response:
        query = LedgerQuery.read(request)
        instrument = named_instrument(symbol_or_id)
        page = drill_down.position_ledger(
            request.auth.account_id,
            instrument.pk,
            before=query.get("page_token"),
            limit=query["page_size"],
        )
        answer: dict[str, Any] = {
            "symbol": instrument.symbol,
            **totals_json(page.totals),
            "entries": [entry_json(entry) for entry in page.entries],
            "next_page_token": None if page.next is None else str(page.next),
        }
        return Response(answer)
