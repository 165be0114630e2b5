"""`/api/market`: what the market's time is doing, and for operators how to move it."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.permissions import IsAdminUser, IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from quotes import market
from quotes.api.fields import InstantField
from quotes.clock import market_clock
from quotes.models import MarketClock
from quotes.pacing import SPEED_MAX, SPEED_MIN


class MarketAnswer(serializers.Serializer):
    mode = serializers.ChoiceField(MarketClock.Mode.choices)
    source = serializers.CharField(  # type: ignore[assignment]  # declared fields are set apart
        help_text="which recording, simulation or service"
    )
    speed = serializers.FloatField(help_text="market seconds per second")
    paused = serializers.BooleanField()
    timestamp = serializers.DateTimeField(help_text="market time")


class To(serializers.Serializer):
    to = InstantField(help_text="market time to play up to")


class NewSpeed(serializers.Serializer):
    speed = serializers.FloatField(min_value=SPEED_MIN, max_value=SPEED_MAX)


class Settled(serializers.Serializer):
    settled_at = serializers.DateTimeField(help_text="market time up to which all is committed")


class Market(APIView):
    permission_classes = [IsAuthenticated]

    @extend_schema(operation_id="get_market", summary="The market's time", responses=MarketAnswer)
    def get(self, request: Request) -> Response:
        return Response(market_json())


class Advance(APIView):
    permission_classes = [IsAdminUser]

    @extend_schema(
        operation_id="advance_market",
        summary="Play a stepped market on",
        description="Answers when every order accepted before is admitted and matched, and all "
        "fills up to `to` are committed.",
        request=To,
        responses=Settled,
    )
    def post(self, request: Request) -> Response:
        settled_at = market.advance(actor=_operator(request), **_read(To, request))
        return Response({"settled_at": settled_at})


class Jump(APIView):
    permission_classes = [IsAdminUser]

    @extend_schema(
        operation_id="jump_market",
        summary="Let a replay jump forward",
        description="It plays up to `to` as fast as it can, then goes on at its pace.",
        request=To,
        responses=MarketAnswer,
    )
    def post(self, request: Request) -> Response:
        market.jump(actor=_operator(request), **_read(To, request))
        return Response(market_json())


class Pause(APIView):
    permission_classes = [IsAdminUser]

    @extend_schema(
        operation_id="pause_market",
        summary="Pause a replay",
        request=None,
        responses=MarketAnswer,
    )
    def post(self, request: Request) -> Response:
        market.pause(actor=_operator(request))
        return Response(market_json())


class Resume(APIView):
    permission_classes = [IsAdminUser]

    @extend_schema(
        operation_id="resume_market",
        summary="Let a paused replay go on",
        request=None,
        responses=MarketAnswer,
    )
    def post(self, request: Request) -> Response:
        market.resume(actor=_operator(request))
        return Response(market_json())


class Speed(APIView):
    permission_classes = [IsAdminUser]

    @extend_schema(
        operation_id="set_market_speed",
        summary="Set the speed of a replay",
        request=NewSpeed,
        responses=MarketAnswer,
    )
    def post(self, request: Request) -> Response:
        market.set_speed(actor=_operator(request), **_read(NewSpeed, request))
        return Response(market_json())


def _read(shape: type[serializers.Serializer], request: Request) -> dict[str, Any]:
    given = shape(data=request.data)
    given.is_valid(raise_exception=True)
    return given.validated_data


def market_json() -> dict[str, Any]:
    clock = market_clock()
    return {
        "mode": clock.mode,
        "source": clock.source,
        "speed": clock.speed,
        "paused": clock.paused,
        "timestamp": clock.now(),
    }


def _operator(request: Request) -> str:
    return f"operator:{request.user.pk}"
