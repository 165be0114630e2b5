"""`DELETE /v2/positions`: closing what is held, which takes an order. Reading is portfolios'."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from events.errors import OpenbellError
from portfolios.api.positions import PositionDetail, PositionList
from trading import closing
from trading.api import schemas
from trading.api.serializers import CloseAllQuery, CloseQuery
from trading.models import Order
from trading.wire import order_json


class ClosablePositionList(PositionList):
    @extend_schema(
        operation_id="close_all_positions",
        summary="Close every position, each with a market order of its own",
        parameters=[CloseAllQuery],
        responses={207: schemas.ClosedPosition(many=True)},
    )
    def delete(self, request: Request) -> Response:
        query = CloseAllQuery.read(request)
        outcomes = closing.close_all(
            account_id=request.auth.account_id,
            actor=request.auth.actor,
            cancel_orders=query["cancel_orders"],
        )
        return Response([_closed(symbol, outcome) for symbol, outcome in outcomes], status=207)


class ClosablePositionDetail(PositionDetail):
    @extend_schema(
        operation_id="close_position",
        summary="Close a position, or a part of it, at the market: sell it, or buy back a short",
        parameters=[CloseQuery],
        responses={200: schemas.Order},
    )
    def delete(self, request: Request, symbol_or_id: str) -> Response:
        query = CloseQuery.read(request)
        order = closing.close_position(
            account_id=request.auth.account_id,
            symbol=symbol_or_id,
            actor=request.auth.actor,
            quantity=query.get("qty"),
            percentage=query.get("percentage"),
        )
        return Response(order_json(order))


def _closed(symbol: str, outcome: Order | OpenbellError) -> dict[str, Any]:
    if isinstance(outcome, OpenbellError):
        return {"symbol": symbol, "status": outcome.http_status, "body": outcome.body()}
    return {"symbol": symbol, "status": 200, "body": order_json(outcome)}
