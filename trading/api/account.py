"""`POST /v2/account/stop`: the kill switch. Everything else of the account is portfolios'."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from events.errors import Invalid
from trading.api import schemas
from trading.api.orders import canceled
from trading.kill_switch import stop_trading


class StopBody(serializers.Serializer):
    """Nothing is needed; what else is said is not overheard, for this switch is no small matter."""

    reason = serializers.CharField(
        required=False, max_length=200, help_text="kept in the event log"
    )

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        if unknown := sorted(set(data) - set(self.fields)):
            raise Invalid(f"unknown field: {unknown[0]}"[:100])
        return super().to_internal_value(data)


class AccountStop(APIView):
    @extend_schema(
        operation_id="stop_account",
        summary="Kill switch: refuse new orders and cancel every open one; positions stay",
        description="Trading goes on once `suspend_trade` is false again in the configurations.",
        request=StopBody,
        responses={207: schemas.CanceledOrder(many=True)},
    )
    def post(self, request: Request) -> Response:
        body = StopBody(data=request.data)
        body.is_valid(raise_exception=True)
        outcomes = stop_trading(
            account_id=request.auth.account_id,
            actor=request.auth.actor,
            reason=body.validated_data.get("reason", "by its user"),
        )
        return Response([canceled(order, error) for order, error in outcomes], status=207)
