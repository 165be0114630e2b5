"""A stream process alone, on Redis: `python -m tests.faults.chaos_floor`.

The real server, consumer, hub and bus; `REDIS_URL` may lead through a proxy. There is no database:
what the hub looks up it finds in Redis or nowhere. Its heart beats faster than in production.
"""

from __future__ import annotations

import config.wsgi  # noqa: F401  # isort: skip - sets up the apps

import socket
from collections.abc import Mapping, Sequence

from channels.routing import URLRouter
from django.urls import re_path

from config.server.server import OpenbellServer
from quotes import latest
from quotes.streaming import hub, market, standings
from quotes.streaming.consumers import MarketDataConsumer
from quotes.streaming.off_loop import off_loop
from tests.streams import Doorman

SYMBOLS = ["AAPL", "IBM", "QUIET"]
HEARTBEAT_SECONDS = 1.0
SILENT_SECONDS = 0.75
BATCH_SECONDS = 0.1


class InRedis(market.StoredMarket):
    """Without a database."""

    async def latest(self, symbols: Sequence[str]) -> Mapping[str, latest.Latest]:
        found = await off_loop(latest.store().get_many, list(symbols))
        return {symbol: found.get(symbol, latest.NOTHING) for symbol in symbols}

    async def listed(self) -> Sequence[str]:
        return SYMBOLS

    async def halted(self) -> Mapping[str, str]:
        return {}


def main() -> None:
    hub.HEARTBEAT_SECONDS = HEARTBEAT_SECONDS
    standings.SILENT_SECONDS = SILENT_SECONDS
    hub.StoredMarket = InRedis  # type: ignore[misc]
    consumer = MarketDataConsumer.as_asgi(authenticate=Doorman())
    router = URLRouter([re_path(r"^v2/(?P<feed>[^/]+)$", consumer)])
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    OpenbellServer(router, listener=listener, when_ready=lambda: print(port, flush=True)).run()


if __name__ == "__main__":
    main()
