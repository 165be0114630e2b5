"""Paths exactly as Alpaca's: no trailing slash, no redirect."""

from __future__ import annotations

from django.urls import path

from portfolios.api.lots import LotList, PositionLedger
from trading.api.account import AccountStop
from trading.api.activities import ActivitiesOfType, ActivityList
from trading.api.orders import OrderByClientId, OrderDetail, OrderList
from trading.api.positions import ClosablePositionDetail, ClosablePositionList
from trading.api.preview import OrderPreview

urlpatterns = [
    path("v2/orders", OrderList.as_view()),
    path("v2/orders:by_client_order_id", OrderByClientId.as_view()),
    path("v2/orders/preview", OrderPreview.as_view()),
    path("v2/orders/<str:order_id>", OrderDetail.as_view()),
    path("v2/positions", ClosablePositionList.as_view()),
    path("v2/positions/<path:symbol_or_id>/lots", LotList.as_view()),
    path("v2/positions/<path:symbol_or_id>/ledger", PositionLedger.as_view()),
    path("v2/positions/<path:symbol_or_id>", ClosablePositionDetail.as_view()),
    path("v2/account/stop", AccountStop.as_view()),
    path("v2/account/activities", ActivityList.as_view()),
    path("v2/account/activities/<str:activity_type>", ActivitiesOfType.as_view()),
]
