"""A stream process alone, on Redis: `python -m tests.faults.chaos_floor HALTS`.

The real server, consumer, hub and bus; `REDIS_URL` may lead through a proxy. There is no database:
what the hub looks up it finds in Redis or nowhere, but for halts, which are in the file that is
named. Its heart beats faster than in production.
Prints the port it listens on and the one of its metrics.
"""

from __future__ import annotations

import config.wsgi  # noqa: F401  # isort: skip - sets up the apps

import json
import socket
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from channels.routing import URLRouter
from django.urls import re_path
from prometheus_client import start_http_server

from config.server.server import OpenbellServer
from quotes.streaming import heart, hub, standings
from quotes.streaming.consumers import MarketDataConsumer
from quotes.streaming.off_loop import off_loop
from tests.quotes.fast_market import FastMarket
from tests.streams import Doorman

SYMBOLS = ["AAPL", "IBM", "QUIET"]
HEARTBEAT_SECONDS = 1.0
SILENT_SECONDS = 0.75
BATCH_SECONDS = 0.1


class NotedMarket(FastMarket):
    """Reads in a file which symbols are halted, as from the database."""

    async def halted(self) -> Mapping[str, str]:
        noted: dict[str, str] = json.loads(await off_loop(Path(sys.argv[1]).read_text))
        return noted


def main() -> None:
    heart.HEARTBEAT_SECONDS = HEARTBEAT_SECONDS
    standings.SILENT_SECONDS = SILENT_SECONDS
    hub.StoredMarket = partial(NotedMarket, SYMBOLS)  # type: ignore[assignment, misc]
    consumer = MarketDataConsumer.as_asgi(authenticate=Doorman())
    router = URLRouter([re_path(r"^v2/(?P<feed>[^/]+)$", consumer)])
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    metrics, _ = start_http_server(0, "127.0.0.1")
    ports = f"{port} {metrics.server_port}"
    OpenbellServer(router, listener=listener, when_ready=lambda: print(ports, flush=True)).run()


if __name__ == "__main__":
    main()
