"""`POST /v2/orders/preview`: what an order would cost and whether it would be accepted."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from trading.api import schemas
from trading.api.serializers import OrderBody, read_order
from trading.preview import Preview, preview
from trading.request import OrderRequest
from trading.wire import amount


class OrderPreview(APIView):
    @extend_schema(
        operation_id="preview_order",
        summary="What an order would cost, and whether it would be accepted; nothing is stored",
        request=OrderBody,
        responses=schemas.Preview,
    )
    def post(self, request: Request) -> Response:
        wanted = read_order(request.data)
        found = preview(account_id=request.auth.account_id, request=wanted)
        return Response(_preview_json(wanted, found))


def _preview_json(request: OrderRequest, found: Preview) -> dict[str, Any]:
    assessment = found.assessment
    return {
        "symbol": request.symbol,
        "side": request.side,
        "qty": amount(request.quantity),
        "notional": amount(request.notional),
        "position_intent": None if assessment is None else assessment.intent,
        "status": "refused" if assessment is None else "accepted",
        "price": amount(found.price),
        "cost": amount(found.cost),
        "fees": amount(found.fees),
        "collar_price": None if assessment is None else amount(assessment.collar_price),
        "initial_margin": None if assessment is None else amount(assessment.hold.cash),
        "qty_held": None if assessment is None else amount(assessment.hold.quantity),
        "buying_power": amount(found.power_before),
        "buying_power_after": amount(found.power_after),
        "refusal": None if found.refusal is None else found.refusal.body(),
    }
