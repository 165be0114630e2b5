"""`/v2/account/activities`: what happened to the account. Fills, so far."""

from __future__ import annotations

from datetime import datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from portfolios.queries import get_account
from quotes.amounts import plain
from quotes.api.fields import BadParameter
from quotes.calendar import NEW_YORK
from trading import queries
from trading.api import schemas
from trading.api.serializers import ActivitiesQuery
from trading.models import OrderStatus
from trading.queries import FillFilter, ShownFill
from trading.wire import instant

FILL = "FILL"
MICROSECOND = timedelta(microseconds=1)


class ActivityList(APIView):
    @extend_schema(
        operation_id="list_activities",
        summary="Activities, newest first",
        description="`page_token` is the id of the last one seen.",
        parameters=[ActivitiesQuery],
        responses=schemas.Activity(many=True),
    )
    def get(self, request: Request) -> Response:
        query = ActivitiesQuery.read(request)
        types = {name.strip().upper() for name in query.get("activity_types", FILL).split(",")}
        return _answer(request, query, types)


class ActivitiesOfType(APIView):
    @extend_schema(
        operation_id="list_activities_of_type",
        summary="Activities of one type, newest first",
        parameters=[ActivitiesQuery],
        responses=schemas.Activity(many=True),
    )
    def get(self, request: Request, activity_type: str) -> Response:
        return _answer(request, ActivitiesQuery.read(request), {activity_type.upper()})


def _answer(request: Request, query: dict[str, Any], types: set[str]) -> Response:
    if FILL not in types or query.get("category") == "non_trade_activity":
        return Response([])
    account = get_account(request.auth.account_id)
    try:
        fills = queries.list_fills(account.pk, _fill_filter(query))
    except LookupError:
        raise BadParameter("invalid page_token: no such activity") from None
    return Response([_activity(fill, str(account.public_id)) for fill in fills])


def _fill_filter(query: dict[str, Any]) -> FillFilter:
    after, until = query.get("after"), query.get("until")
    if on := query.get("date"):
        midnight = datetime.combine(on, time(), NEW_YORK)
        after = midnight - MICROSECOND
        until = datetime.combine(on + timedelta(days=1), time(), NEW_YORK)
    token = query.get("page_token")
    return FillFilter(
        limit=query["page_size"],
        after=after,
        until=until,
        ascending=query["direction"] == "asc",
        following=None if token is None else _execution_id(token),
    )


def _execution_id(token: str) -> UUID:
    try:
        return UUID(token.rpartition("::")[2])
    except ValueError:
        raise BadParameter("invalid page_token: it is the id of an activity") from None


def _activity(fill: ShownFill, account_id: str) -> dict[str, Any]:
    if fill.leaves_quantity is None:  # an order by amount is done with its last fill
        completes = fill.order_status == OrderStatus.FILLED and fill.number == fill.order_fill_count
    else:
        completes = fill.leaves_quantity == 0
    status = OrderStatus.FILLED if completes else OrderStatus.PARTIALLY_FILLED
    return {
        "id": f"{_local_digits(fill.at)}::{fill.execution_id}",
        "account_id": account_id,
        "activity_type": FILL,
        "transaction_time": instant(fill.at),
        "type": "fill" if completes else "partial_fill",
        "price": plain(fill.price),
        "qty": plain(fill.quantity),
        "cum_qty": plain(fill.cumulative_quantity),
        "leaves_qty": plain(fill.leaves_quantity or Decimal(0)),
        "side": fill.side,
        "symbol": fill.symbol,
        "order_id": str(fill.order_id),
        "order_status": status.value,
    }


def _local_digits(at: datetime) -> str:
    """YYYYMMDDhhmmssmmm in New York, as the ids of activities begin."""
    local = at.astimezone(NEW_YORK)
    return f"{local:%Y%m%d%H%M%S}{local.microsecond // 1000:03d}"
