"""The one ASGI application: HTTP goes to Django in its threads, sockets to their consumers.

The server sends here by the Upgrade header, not by path: `/v2/iex` the stream shares its prefix
with REST. The last pattern refuses, for Daphne answers an unknown path with 500.
"""

from __future__ import annotations

import os
from typing import Any, cast

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

from config.wsgi import application as django_application  # isort: skip - sets up the apps

from channels.routing import ProtocolTypeRouter, URLRouter
from django.conf import settings
from django.urls import re_path

from access.authentication import sockets
from config.server.http import HttpApplication, Receive, Scope, Send
from quotes.streaming.consumers import MarketDataConsumer
from trading.streaming import TradeUpdatesConsumer


async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
    """Close before accept: the client sees 403."""
    await receive()
    await send({"type": "websocket.close"})


http = HttpApplication(django_application, threads=settings.HTTP_THREADS)

websocket: Any = URLRouter(
    [
        re_path(r"^stream/?$", TradeUpdatesConsumer.as_asgi(authenticate=sockets)),
        re_path(r"^v2/(?P<feed>[^/]+)/?$", MarketDataConsumer.as_asgi(authenticate=sockets)),
        re_path(r"", cast(Any, refuse)),  # the stubs expect one of Django's views
    ]
)

application = ProtocolTypeRouter({"http": http, "websocket": websocket})
