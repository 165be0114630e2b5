"""Which path leads to which app."""

from django.contrib import admin
from django.urls import include, path, re_path

from config.api import API_ROOTS, endpoint_not_found
from config.observability import health

handler400 = "config.api.bad_request"
handler403 = "config.api.permission_denied"
handler404 = "config.api.page_not_found"
handler500 = "config.api.server_error"

urlpatterns = [
    path("healthz", health.healthz),
    path("readyz", health.readyz),
    path("metrics", health.metrics),
    path("admin/", admin.site.urls),
    path("", include("trading.urls")),
    path("", include("events.api.urls")),
    path("", include("quotes.api.urls")),
    path("", include("trading.api.urls")),  # before portfolios: closing a position is an order
    path("", include("portfolios.api.urls")),
    path("", include("access.api.urls")),
    # Last: what no app answers, below the roots where everything is JSON.
    re_path(rf"^(?:{'|'.join(sorted(API_ROOTS))})(?:/.*)?$", endpoint_not_found),
]
