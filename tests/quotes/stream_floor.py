"""A market data server for the tests beside it: `python -m tests.quotes.stream_floor`.

The real server, the real consumer, the real hub, and a feed that never stops: every turn AAPL and
IBM get a quote and a trade, FLOOD gets many of both; of MSFT there are, now and then, a trade that
is corrected and one that is canceled, bars of each kind, a halt and its end. AAPL and IBM say when
they were made. Prints the port it listens on, and then the port of its metrics; each line of its
input is told as control news. `--seats N` is how many sockets one account may have, and one key;
with `--quiet` there is no feed. `--redis-seconds S` is how long Redis may take where seats are
counted, and how long a process may be silent.
"""

from __future__ import annotations

import config.wsgi  # noqa: F401  # isort: skip - sets up the apps

import argparse
import itertools
import json
import socket
import sys
import threading
import time
from functools import partial
from typing import Any

from channels.routing import ProtocolTypeRouter, URLRouter
from django.urls import re_path
from prometheus_client import start_http_server

from config.server.server import OpenbellServer
from quotes import latest
from quotes.streaming import hub, limits
from quotes.streaming.bus import BARS, CONTROL, TICK_TOPICS, bus
from quotes.streaming.consumers import MarketDataConsumer
from quotes.ticks import Amendment, Batch, Place, Quote, Trade
from tests.quotes.fast_market import FastMarket
from tests.streams import OPENING_US, Doorman, bar, quote, trade

SYMBOLS = ["AAPL", "FLOOD", "IBM", "MSFT"]
TURN_SECONDS = 0.01
FLOOD_PER_TURN = 100
RARE_TURNS = 20
HALT = {"kind": "halt", "symbol": "MSFT", "reason": "news"}
HALTED: dict[str, str] = {}


def feed() -> None:
    """Publish a batch a turn, from a thread of its own as ingest does."""
    flood, begun_ns = itertools.count(1), time.monotonic_ns()
    for number in itertools.count(1):
        now_us = OPENING_US + (time.monotonic_ns() - begun_ns) // 1_000
        plain = [tick(name, n=number) for name in ("AAPL", "IBM") for tick in (quote, trade)]
        ticks = [tick._replace(at_us=now_us) for tick in plain]
        for n in itertools.islice(flood, FLOOD_PER_TURN):
            ticks += [quote("FLOOD", n=n), trade("FLOOD", n=n)]
        amendments = tell_rare_news(number, ticks) if number % RARE_TURNS == 0 else ()
        latest.store().put_many(ticks, Place(1, number))
        batch = Batch(tuple(ticks), now_us, 1, number, amendments)
        bus().publish(TICK_TOPICS[0], batch)
        time.sleep(TURN_SECONDS)


def tell_rare_news(number: int, ticks: list[Quote | Trade]) -> tuple[Amendment, ...]:
    """Two more trades and what becomes of them; besides them bars, and a halt or its end."""
    minute = number // RARE_TURNS
    wrong, void = (trade("MSFT", n=number)._replace(sequence=2 * minute + each) for each in (-1, 0))
    ticks += [wrong, void]
    bus().publish(BARS, [bar("MSFT", minute)])
    bus().publish(BARS, [bar("MSFT", minute - 1, volume=900), bar("MSFT", timeframe="1Day")])
    if minute % 2:
        HALTED["MSFT"] = HALT["reason"]
    else:
        HALTED.clear()
    bus().publish(CONTROL, HALT if minute % 2 else {**HALT, "kind": "resume"})
    right = wrong._replace(sequence=10**6 + minute, price=494_000)
    return (
        Amendment("MSFT", OPENING_US + number, wrong, right),
        Amendment("MSFT", OPENING_US + number, void, action="E"),
    )


async def answer_market(scope: Any, receive: Any, send: Any) -> None:
    """What another Openbell asks before it lets itself be fed."""
    content = json.dumps({"mode": "simulated", "source": "floor"}).encode()
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": content})


def tell_what_is_asked() -> None:
    for line in sys.stdin:
        bus().publish(CONTROL, json.loads(line))


def main() -> None:
    asked = argparse.ArgumentParser()
    asked.add_argument("--seats", type=int, default=limits.SOCKETS_PER_ACCOUNT_MAX)
    asked.add_argument("--quiet", action="store_true")
    asked.add_argument("--redis-seconds", type=float)
    said = asked.parse_args()
    if said.redis_seconds:
        from quotes.streaming import redis_seats

        redis_seats.TIMEOUT_SECONDS = redis_seats.GONE_SECONDS = said.redis_seconds
    hub.StoredMarket = partial(FastMarket, SYMBOLS, HALTED)  # type: ignore[assignment, misc]
    consumer = MarketDataConsumer.as_asgi(
        authenticate=Doorman(), sockets_per_account=said.seats, sockets_per_key=said.seats
    )
    streams = URLRouter([re_path(r"^v2/(?P<feed>[^/]+)$", consumer)])
    listener = socket.create_server(("127.0.0.1", 0))
    if not said.quiet:
        threading.Thread(target=feed, daemon=True).start()
    threading.Thread(target=tell_what_is_asked, daemon=True).start()
    metrics, _ = start_http_server(0, "127.0.0.1")
    ports = f"{listener.getsockname()[1]}\n{metrics.server_port}"
    router = ProtocolTypeRouter({"http": answer_market, "websocket": streams})
    OpenbellServer(router, listener=listener, when_ready=lambda: print(ports, flush=True)).run()


if __name__ == "__main__":
    main()
