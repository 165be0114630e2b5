from django.urls import path

from quotes.api import assets, sessions

urlpatterns = [
    path("v2/assets", assets.AssetList.as_view()),
    path("v2/assets/<str:symbol_or_id>", assets.AssetDetail.as_view()),
    path("v2/clock", sessions.MarketClockView.as_view()),
    path("v2/calendar", sessions.MarketCalendarView.as_view()),
]
