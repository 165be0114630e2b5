"""A stream process for benchmarks/streams.py: the real server, consumer, hub, bus and key check.

Only two things are not as in production: one key may open as many sockets as it likes and,
with OWN_WRITES=1, nothing is coalesced, so that every message is a write of its own.
"""

from __future__ import annotations

import config.wsgi  # noqa: F401  # isort: skip - sets up the apps

import os
import socket

from channels.routing import URLRouter
from django.urls import re_path

from access.authentication import sockets
from config.server.__main__ import BACKLOG
from config.server.server import OpenbellServer
from quotes.streaming import hub
from quotes.streaming.consumers import MarketDataConsumer

SOCKETS_MAX = 1_000_000


def main() -> None:
    if os.environ.get("OWN_WRITES"):
        hub.SLICE_TICKS = 1
    consumer = MarketDataConsumer.as_asgi(
        authenticate=sockets, sockets_per_account=SOCKETS_MAX, sockets_per_key=SOCKETS_MAX
    )
    router = URLRouter([re_path(r"^v2/(?P<feed>[^/]+)/?$", consumer)])
    listener = socket.create_server(("127.0.0.1", int(os.environ["PORT"])), backlog=BACKLOG)
    OpenbellServer(router, listener=listener).run()


if __name__ == "__main__":
    main()
