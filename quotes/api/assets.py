"""`/v2/assets`: what there is to trade."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from events.errors import Invalid
from quotes import listings
from quotes.api.fields import QuerySerializer
from quotes.listings import ASSET_CLASS
from quotes.models import Instrument


class AssetQuery(QuerySerializer):
    error = Invalid

    status = serializers.ChoiceField(Instrument.Status.choices, required=False)
    asset_class = serializers.CharField(default=ASSET_CLASS, help_text="only us_equity has any")
    exchange = serializers.CharField(required=False)
    attributes = serializers.CharField(required=False, help_text="accepted and ignored")


class Asset(serializers.Serializer):
    id = serializers.UUIDField()
    exchange = serializers.CharField()
    symbol = serializers.CharField()
    name = serializers.CharField()
    status = serializers.ChoiceField(Instrument.Status.choices)
    tradable = serializers.BooleanField()
    marginable = serializers.BooleanField()
    shortable = serializers.BooleanField()
    easy_to_borrow = serializers.BooleanField()
    fractionable = serializers.BooleanField()
    attributes = serializers.ListField(child=serializers.CharField())

    def get_fields(self) -> dict[str, serializers.Field]:
        # A name that Python keeps for itself.
        return {"class": serializers.CharField(), **super().get_fields()}


class AssetList(APIView):
    permission_classes = [IsAuthenticated]

    @extend_schema(
        operation_id="list_assets",
        summary="All assets",
        parameters=[AssetQuery],
        responses=Asset(many=True),
    )
    def get(self, request: Request) -> Response:
        query = AssetQuery.read(request)
        if query["asset_class"] != ASSET_CLASS:
            return Response([])
        return Response(listings.assets(status=query.get("status"), exchange=query.get("exchange")))


class AssetDetail(APIView):
    permission_classes = [IsAuthenticated]

    @extend_schema(operation_id="get_asset", summary="One asset", responses=Asset)
    def get(self, request: Request, symbol_or_id: str) -> Response:
        return Response(listings.get_asset(symbol_or_id))
