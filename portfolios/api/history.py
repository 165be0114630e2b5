"""`/v2/account/portfolio/history`: what the account was worth over time."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from events.errors import Invalid
from portfolios.api import schemas
from portfolios.history import HistoryRequest, portfolio_history
from portfolios.queries import get_account
from portfolios.spans import TIMEFRAMES
from portfolios.wire import history_json
from quotes.api.fields import CalendarDateField, InstantField, QuerySerializer
from quotes.calendar import NEW_YORK

REPORTINGS = ["market_hours", "extended_hours", "continuous"]


class HistoryQuery(QuerySerializer):
    error = Invalid

    period = serializers.CharField(
        required=False, max_length=8, help_text="a number and D (trading days), W, M or A; 1M"
    )
    timeframe = serializers.ChoiceField(
        TIMEFRAMES,
        required=False,
        help_text="default: 1Min below a week, 15Min below a month, else 1D",
    )
    start = InstantField(required=False, help_text="its New York date counts")
    end = InstantField(required=False, help_text="likewise")
    date_start = CalendarDateField(required=False)
    date_end = CalendarDateField(required=False)
    extended_hours = serializers.BooleanField(
        required=False, help_text="below 1D: with pre-market and after-hours"
    )
    intraday_reporting = serializers.ChoiceField(
        REPORTINGS, required=False, help_text="anything but market_hours is extended_hours"
    )
    pnl_reset = serializers.ChoiceField(
        ["per_day", "no_reset"], required=False, help_text="accepted; profit is never reset"
    )
    cashflow_types = serializers.CharField(
        required=False, help_text="ALL (default), NONE or a list of activity types"
    )


class PortfolioHistory(APIView):
    @extend_schema(
        operation_id="get_portfolio_history",
        summary="What the account was worth over time",
        description="Of whole trading days. Profit and return leave out what was paid in or out.",
        parameters=[HistoryQuery],
        responses=schemas.PortfolioHistory,
    )
    def get(self, request: Request) -> Response:
        query = HistoryQuery.read(request)
        account = get_account(request.auth.account_id)
        answer = history_json(portfolio_history(account, _wanted(query)))
        answer["cashflow"] = _chosen(answer["cashflow"], query.get("cashflow_types", "ALL"))
        return Response(answer)


def _wanted(query: dict[str, Any]) -> HistoryRequest:
    reporting = query.get("intraday_reporting", REPORTINGS[0])
    return HistoryRequest(
        period=query.get("period"),
        timeframe=query.get("timeframe"),
        first=query.get("date_start") or _date(query.get("start")),
        last=query.get("date_end") or _date(query.get("end")),
        extended_hours=query.get("extended_hours", False) or reporting != REPORTINGS[0],
    )


def _date(at: datetime | None) -> date | None:
    return None if at is None else at.astimezone(NEW_YORK).date()


def _chosen(flows: dict[str, list[float]], types: str) -> dict[str, list[float]]:
    if types.upper() == "ALL":
        return flows
    wanted = {name.strip().upper() for name in types.split(",")}
    return {kind: amounts for kind, amounts in flows.items() if kind in wanted}
