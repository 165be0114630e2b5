from django.urls import path

from quotes.api import assets, control, history, latest, public, sessions

urlpatterns = [
    path("v2/assets", assets.AssetList.as_view()),
    path("v2/assets/<str:symbol_or_id>", assets.AssetDetail.as_view()),
    path("v2/clock", sessions.MarketClockView.as_view()),
    path("v2/calendar", sessions.MarketCalendarView.as_view()),
    path("v2/stocks/bars", history.Bars.as_view()),
    path("v2/stocks/quotes", history.Quotes.as_view()),
    path("v2/stocks/trades", history.Trades.as_view()),
    path("v2/stocks/bars/latest", latest.LatestBars.as_view()),
    path("v2/stocks/quotes/latest", latest.LatestQuotes.as_view()),
    path("v2/stocks/trades/latest", latest.LatestTrades.as_view()),
    path("v2/stocks/snapshots", latest.Snapshots.as_view()),
    path("v2/stocks/<str:symbol>/bars", history.SymbolBars.as_view()),
    path("v2/stocks/<str:symbol>/quotes", history.SymbolQuotes.as_view()),
    path("v2/stocks/<str:symbol>/trades", history.SymbolTrades.as_view()),
    path("v2/stocks/<str:symbol>/bars/latest", latest.LatestBar.as_view()),
    path("v2/stocks/<str:symbol>/quotes/latest", latest.LatestQuote.as_view()),
    path("v2/stocks/<str:symbol>/trades/latest", latest.LatestTrade.as_view()),
    path("v2/stocks/<str:symbol>/snapshot", latest.Snapshot.as_view()),
    path("public/market", public.PublicMarket.as_view()),
    path("public/quotes", public.PublicQuotes.as_view()),
    path("api/market", control.Market.as_view()),
    path("api/market/advance", control.Advance.as_view()),
    path("api/market/jump", control.Jump.as_view()),
    path("api/market/pause", control.Pause.as_view()),
    path("api/market/resume", control.Resume.as_view()),
    path("api/market/speed", control.Speed.as_view()),
]
