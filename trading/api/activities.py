"""`/v2/account/activities`: what happened to the account, trades and all else."""

from __future__ import annotations

from datetime import datetime, time, timedelta
from typing import Any
from uuid import UUID

from drf_spectacular.utils import PolymorphicProxySerializer, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from portfolios.models import NonTradeActivity
from portfolios.queries import get_account
from quotes.amounts import plain
from quotes.api.fields import BadParameter
from quotes.calendar import NEW_YORK
from quotes.clock import market_clock
from trading import activities
from trading.activities import FEE, FILL, OTHERS, TYPES, Activity, ActivityFilter, Charge
from trading.api import schemas
from trading.api.serializers import ActivitiesQuery
from trading.models import OrderStatus
from trading.queries import ShownFill
from trading.wire import instant

MICROSECOND = timedelta(microseconds=1)
DIGITS_ONLY = str.maketrans("", "", "-T:.")
OF_CATEGORY = {"trade_activity": {FILL}, "non_trade_activity": OTHERS}
ANSWER = PolymorphicProxySerializer(
    component_name="AnyActivity",
    serializers=[schemas.Activity, schemas.NonTradeActivity],
    resource_type_field_name=None,
    many=True,
)


class ActivityList(APIView):
    @extend_schema(
        operation_id="list_activities",
        summary="Activities, newest first",
        description="`page_token` is the id of the last one seen.",
        parameters=[ActivitiesQuery],
        responses=ANSWER,
    )
    def get(self, request: Request) -> Response:
        query = ActivitiesQuery.read(request)
        named = query.get("activity_types", "")
        types = {name.strip().upper() for name in named.split(",")} if named else set(TYPES)
        return _answer(request, query, types)


class ActivitiesOfType(APIView):
    @extend_schema(
        operation_id="list_activities_of_type",
        summary="Activities of one type, newest first",
        parameters=[ActivitiesQuery],
        responses=ANSWER,
    )
    def get(self, request: Request, activity_type: str) -> Response:
        return _answer(request, ActivitiesQuery.read(request), {activity_type.upper()})


def _answer(request: Request, query: dict[str, Any], types: set[str]) -> Response:
    types &= OF_CATEGORY.get(query.get("category", ""), TYPES)
    if not types & TYPES:
        return Response([])
    account = get_account(request.auth.account_id)
    try:
        found = activities.list_activities(account.pk, _filter(query, types))
    except LookupError:
        raise BadParameter("invalid page_token: no such activity") from None
    return Response([_activity(one, str(account.public_id)) for one in found])


def _filter(query: dict[str, Any], types: set[str]) -> ActivityFilter:
    after, until = query.get("after"), query.get("until")
    if on := query.get("date"):
        midnight = datetime.combine(on, time(), NEW_YORK)
        after = midnight - MICROSECOND
        until = datetime.combine(on + timedelta(days=1), time(), NEW_YORK)
    token = query.get("page_token")
    return ActivityFilter(
        types=types,
        limit=query["page_size"],
        after=after,
        until=until,
        ascending=query["direction"] == "asc",
        following=None if token is None else _public_id(token),
    )


def _public_id(token: str) -> UUID:
    try:
        return UUID(token.rpartition("::")[2])
    except ValueError:
        raise BadParameter("invalid page_token: it is the id of an activity") from None


def _activity(one: Activity, account_id: str) -> dict[str, Any]:
    if isinstance(one, ShownFill):
        return _trade_activity(one, account_id)
    if isinstance(one, Charge):
        return _fee(one, account_id)
    return _non_trade_activity(one, account_id)


def _trade_activity(fill: ShownFill, account_id: str) -> dict[str, Any]:
    if fill.leaves_quantity is None:  # an order by amount is done with its last fill
        completes = fill.order_status == OrderStatus.FILLED and fill.number == fill.order_fill_count
    else:
        completes = fill.leaves_quantity == "0"
    status = OrderStatus.FILLED if completes else OrderStatus.PARTIALLY_FILLED
    return {
        "id": f"{_local_digits(fill.at)}::{fill.execution_id}",
        "account_id": account_id,
        "activity_type": FILL,
        "transaction_time": instant(fill.at),
        "type": "fill" if completes else "partial_fill",
        "price": fill.price,
        "qty": fill.quantity,
        "cum_qty": fill.cumulative_quantity,
        "leaves_qty": fill.leaves_quantity or "0",
        "side": fill.side,
        "symbol": fill.symbol,
        "order_id": fill.order_id,
        "order_status": status.value,
    }


def _fee(charge: Charge, account_id: str) -> dict[str, Any]:
    fill = charge.fill
    return {
        "id": f"{_local_digits(fill.at)}::{charge.public_id}",
        "account_id": account_id,
        "activity_type": FEE,
        "date": market_clock().calendar.trading_date(fill.at),
        "net_amount": f"-{fill.fee}",
        "description": f"SEC and FINRA fees on the sale of {fill.quantity} {fill.symbol}",
        "status": "executed",
        "symbol": fill.symbol,
        "qty": fill.quantity,
        "order_id": fill.order_id,
    }


def _non_trade_activity(one: NonTradeActivity, account_id: str) -> dict[str, Any]:
    return {
        "id": f"{_local_digits(one.at)}::{one.public_id}",
        "account_id": account_id,
        "activity_type": one.type,
        "date": one.on,
        "net_amount": plain(one.net_amount),
        "description": one.description,
        "status": "executed",
        **_of_corporate_action(one),
    }


def _of_corporate_action(one: NonTradeActivity) -> dict[str, str]:
    if one.instrument is None or one.quantity is None:
        return {}
    told = {"symbol": one.instrument.symbol, "qty": plain(one.quantity)}
    if one.per_share is not None:
        told["per_share_amount"] = plain(one.per_share)
    return told


def _local_digits(at: datetime) -> str:
    """YYYYMMDDhhmmssmmm in New York, as the ids of activities begin."""
    local = at.astimezone(NEW_YORK).replace(tzinfo=None)
    return local.isoformat(timespec="milliseconds").translate(DIGITS_ONLY)
