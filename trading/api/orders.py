"""`/v2/orders`: place, list, read, replace and cancel orders."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from events.errors import OpenbellError
from trading import orders, queries
from trading.api import schemas
from trading.api.serializers import (
    ClientIdQuery,
    NestedQuery,
    OrderBody,
    OrderListQuery,
    ReplaceBody,
    read_changes,
    read_order,
    read_order_id,
)
from trading.models import Order
from trading.queries import OrderFilter
from trading.replacing import replace_order
from trading.wire import order_json


class OrderList(APIView):
    @extend_schema(
        operation_id="list_orders",
        summary="Orders by submission, newest first",
        parameters=[OrderListQuery],
        responses=schemas.Order(many=True),
    )
    def get(self, request: Request) -> Response:
        query = OrderListQuery.read(request)
        wanted = OrderFilter(ascending=query.pop("direction") == "asc", **query)
        found = queries.list_orders(request.auth.account_id, wanted)
        return Response([order_json(order) for order in found])

    @extend_schema(
        operation_id="place_order",
        summary="Place an order",
        request=OrderBody,
        responses=schemas.Order,
    )
    def post(self, request: Request) -> Response:
        order = orders.submit(
            account_id=request.auth.account_id,
            request=read_order(request.data),
            actor=request.auth.actor,
        )
        return Response(order_json(order))

    @extend_schema(
        operation_id="cancel_all_orders",
        summary="Cancel every open order",
        description="An order that closes a position by force stays: its status is 403.",
        responses={207: schemas.CanceledOrder(many=True)},
    )
    def delete(self, request: Request) -> Response:
        outcomes = orders.cancel_all(account_id=request.auth.account_id, actor=request.auth.actor)
        return Response([canceled(order, error) for order, error in outcomes], status=207)


class OrderDetail(APIView):
    @extend_schema(
        operation_id="get_order",
        summary="One order",
        parameters=[NestedQuery],
        responses=schemas.Order,
    )
    def get(self, request: Request, order_id: str) -> Response:
        nested = NestedQuery.read(request)["nested"]
        order = queries.get_order(request.auth.account_id, read_order_id(order_id), nested=nested)
        return Response(order_json(order))

    @extend_schema(
        operation_id="replace_order",
        summary="Replace an order by a new one with other terms",
        request=ReplaceBody,
        responses=schemas.Order,
    )
    def patch(self, request: Request, order_id: str) -> Response:
        order = replace_order(
            account_id=request.auth.account_id,
            order_id=read_order_id(order_id),
            changes=read_changes(request),
            actor=request.auth.actor,
        )
        return Response(order_json(order))

    @extend_schema(
        operation_id="cancel_order",
        summary="Cancel an open order",
        description="Not one that closes a position by force: that is for an operator.",
        responses={204: None},
    )
    def delete(self, request: Request, order_id: str) -> Response:
        orders.cancel(
            account_id=request.auth.account_id,
            order_id=read_order_id(order_id),
            actor=request.auth.actor,
        )
        return Response(status=204)


class OrderByClientId(APIView):
    @extend_schema(
        operation_id="get_order_by_client_order_id",
        summary="One order, by the id its client gave it",
        parameters=[ClientIdQuery],
        responses=schemas.Order,
    )
    def get(self, request: Request) -> Response:
        query = ClientIdQuery.read(request)
        order = queries.get_order_by_client_id(
            request.auth.account_id, query["client_order_id"], nested=query["nested"]
        )
        return Response(order_json(order))


def canceled(order: Order, error: OpenbellError | None) -> dict[str, Any]:
    """What became of one order among several that were to be canceled."""
    if error is None:
        return {"id": str(order.public_id), "status": 200}
    return {"id": str(order.public_id), "status": error.http_status, "body": error.body()}
