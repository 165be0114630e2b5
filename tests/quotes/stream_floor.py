"""A market data server for the tests beside it: `python -m tests.quotes.stream_floor`.

The real server, the real consumer, the real hub, and a feed that never stops: every turn AAPL and
IBM get a quote and a trade, FLOOD gets many of both. Prints the port it listens on, and then the
port of its metrics. `--seats N` is how many sockets one account may have, and one key; with
`--quiet` there is no feed. `--redis-seconds S` is how long Redis may take where seats are counted,
and how long a process may be silent.
"""

from __future__ import annotations

import config.wsgi  # noqa: F401  # isort: skip - sets up the apps

import argparse
import itertools
import socket
import threading
import time

from channels.routing import URLRouter
from django.urls import re_path
from prometheus_client import start_http_server

from config.server.server import OpenbellServer
from quotes import latest
from quotes.streaming import limits
from quotes.streaming.bus import TICK_TOPICS, bus
from quotes.streaming.consumers import MarketDataConsumer
from quotes.ticks import Batch
from tests.streams import OPENING_US, Doorman, quote, trade

TURN_SECONDS = 0.01
FLOOD_PER_TURN = 100


def feed() -> None:
    """Publish a batch a turn, from a thread of its own as ingest does."""
    flood = itertools.count(1)
    for number in itertools.count(1):
        ticks = [tick(name, n=number) for name in ("AAPL", "IBM") for tick in (quote, trade)]
        for n in itertools.islice(flood, FLOOD_PER_TURN):
            ticks += [quote("FLOOD", n=n), trade("FLOOD", n=n)]
        latest.put_many(ticks)
        batch = Batch(tuple(ticks), OPENING_US + number, epoch=1, number=number)
        bus().publish(TICK_TOPICS[0], batch)
        time.sleep(TURN_SECONDS)


def main() -> None:
    asked = argparse.ArgumentParser()
    asked.add_argument("--seats", type=int, default=limits.SOCKETS_PER_ACCOUNT_MAX)
    asked.add_argument("--quiet", action="store_true")
    asked.add_argument("--redis-seconds", type=float)
    said = asked.parse_args()
    if said.redis_seconds:
        from quotes.streaming import redis_seats

        redis_seats.TIMEOUT_SECONDS = redis_seats.GONE_SECONDS = said.redis_seconds
    consumer = MarketDataConsumer.as_asgi(
        authenticate=Doorman(), sockets_per_account=said.seats, sockets_per_key=said.seats
    )
    router = URLRouter([re_path(r"^v2/(?P<feed>[^/]+)$", consumer)])
    listener = socket.create_server(("127.0.0.1", 0))
    if not said.quiet:
        threading.Thread(target=feed, daemon=True).start()
    metrics, _ = start_http_server(0, "127.0.0.1")
    ports = f"{listener.getsockname()[1]}\n{metrics.server_port}"
    OpenbellServer(router, listener=listener, when_ready=lambda: print(ports, flush=True)).run()


if __name__ == "__main__":
    main()
