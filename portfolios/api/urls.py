from django.urls import path

from portfolios.api import account, history, positions, watchlists

urlpatterns = [
    path("v2/account", account.AccountDetail.as_view()),
    path("v2/account/configurations", account.AccountConfigurations.as_view()),
    path("v2/account/portfolio/history", history.PortfolioHistory.as_view()),
    path("v2/positions", positions.PositionList.as_view()),
    path("v2/positions/<str:symbol_or_id>", positions.PositionDetail.as_view()),
    path("v2/watchlists", watchlists.WatchlistList.as_view()),
    path("v2/watchlists:by_name", watchlists.WatchlistByName.as_view()),
    path("v2/watchlists/<str:watchlist_id>", watchlists.WatchlistDetail.as_view()),
    path(
        "v2/watchlists/<str:watchlist_id>/<str:symbol>", watchlists.WatchlistEntryDetail.as_view()
    ),
]
