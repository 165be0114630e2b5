"""`/v2/positions`: what the account holds. Closing positions is an order: trading adds it."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from events.errors import NotFound
from portfolios.api import schemas
from portfolios.errors import PositionNotFound
from portfolios.queries import get_account, position_view, position_views
from portfolios.wire import position_json
from quotes.models import Instrument
from quotes.queries import get_instrument


class PositionList(APIView):
    @extend_schema(
        operation_id="list_positions",
        summary="Open positions by symbol, valued now",
        responses=schemas.Position(many=True),
    )
    def get(self, request: Request) -> Response:
        account = get_account(request.auth.account_id)
        return Response([position_json(view) for view in position_views(account)])


class PositionDetail(APIView):
    @extend_schema(
        operation_id="get_position", summary="One open position", responses=schemas.Position
    )
    def get(self, request: Request, symbol_or_id: str) -> Response:
        account = get_account(request.auth.account_id)
        instrument = named_instrument(symbol_or_id)
        return Response(position_json(position_view(account, instrument.pk)))


def named_instrument(symbol_or_id: str) -> Instrument:
    """The instrument of a position's path. Raises PositionNotFound for an unknown one, too."""
    try:
        return get_instrument(symbol_or_id)
    except NotFound:
        raise PositionNotFound from None
