"""Latest quotes of 20 of 1,000 symbols: Openbell beside its peers, in one run.

    make bench B=hot_reads    # installs the peers; after that: python benchmarks/hot_reads.py

Each server answers the same lists to the same load (`wrk`, 32 connections) with two processes,
while a feed renews 1,000 quotes a second in one Redis. Openbell checks the key and counts the
request against its limit; the peers do neither. Printed are medians over the rounds: requests per
second, latency, CPU of the server's processes per request (/proc/<pid>/task/*/schedstat, which
tells more than requests per second on a busy machine) and the ratio to FastAPI.

Through the edge, nginx and the web processes behind it count. There the lists are asked for below
/public/, which needs no key and may be five seconds old: each of the 500 addresses goes on to a web
process once in five seconds, whatever the load, and all else is answered from nginx's cache. The
last line says what share that was.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
PEERS = ROOT / "benchmarks" / "peers"
PEERS_PYTHON = ROOT / ".venv-peers" / "bin" / "python"
sys.path.insert(0, str(ROOT))

from benchmarks.processes import (  # noqa: E402
    GUNICORN,
    START_SECONDS,
    cpu_ns,
    free_port,
    running,
    wait_for,
)

SYMBOLS = [f"SYM{number:03d}" for number in range(1000)]
LISTS, LIST_LENGTH = 500, 20
WORKERS, CONNECTIONS = 2, 32
HOT_READS, EDGE_READS = "/v2/stocks/quotes/latest?symbols=", "/public/quotes?symbols="
EDGE_SECONDS = 5  # for so long the edge keeps an answer
FEED_SECONDS, FEED_QUOTES = 0.1, 100
REFUSED_MAX = 0.01  # a web process answers 503 to what waited a second, on a machine that is full
UVICORN = [str(PEERS_PYTHON), "-m", "uvicorn", "--no-access-log", "--log-level", "warning"]


class Server(NamedTuple):
    """One way to answer, and its processes, each of which leads a session."""

    name: str
    port: int
    processes: list[subprocess.Popen[bytes]]
    path: str = HOT_READS

    def cpu_ns(self) -> int:
        return sum(cpu_ns(process.pid) for process in self.processes)


class Run(NamedTuple):
    """One measurement of one server."""

    per_second: float
    cpu_us: float  # of the server's processes, per request
    p50_ms: float
    p99_ms: float


def main() -> None:
    options = parse()
    with ExitStack() as stack:
        home = Path(tempfile.mkdtemp(prefix="openbell-hot-reads-"))
        stack.callback(shutil.rmtree, home, ignore_errors=True)
        stack.enter_context(redis(home))
        load = prepare(home)
        stack.enter_context(feeding())
        servers = [stack.enter_context(serving(*each)) for each in contestants()]
        servers.append(stack.enter_context(serving_through_edge(home)))
        check(servers, load)
        print_table(servers, measure(servers, load, options.rounds, options.seconds))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=4, help="of each run, after 1 s of warm-up")
    os.environ["PATH"] += os.pathsep + "/usr/sbin"  # where Debian keeps nginx
    for tool in ("redis-server", "wrk", "node", "nginx"):
        if shutil.which(tool) is None:
            parser.error(f"{tool} is needed: apt-get install redis-server wrk nodejs nginx-light")
    if find_spec("gunicorn") is None:
        parser.error("gunicorn is needed: .venv/bin/pip install -r requirements.txt")
    if not PEERS_PYTHON.exists() or not (PEERS / "node_modules").is_dir():
        parser.error("the peers are not installed: benchmarks/install_peers.sh")
    return parser.parse_args()


def contestants() -> Iterator[tuple[str, list[str], dict[str, str]]]:
    """Name, command and environment of each server; PORT is added."""
    many = {"WEB_WORKERS": str(WORKERS)}
    yield "Openbell, short way", GUNICORN, many
    yield "Openbell, REST framework", [*GUNICORN, "config.wsgi:django_application"], many
    floor = {**many, "DJANGO_SETTINGS_MODULE": "benchmarks.peers.django_floor"}
    yield "Django, empty view", [*GUNICORN, "django.core.wsgi:get_wsgi_application()"], floor
    app = ["--app-dir", str(PEERS), "--workers", str(WORKERS), "fastapi_quotes:app"]
    yield "FastAPI", [*UVICORN, *app], {}
    yield "Fastify", ["node", str(PEERS / "fastify_quotes.mjs")], {}


@contextmanager
def redis(home: Path) -> Iterator[None]:
    port = free_port()
    command = ["redis-server", "--bind", "127.0.0.1", "--port", str(port), "--save", ""]
    process = subprocess.Popen(command, cwd=home, stdout=subprocess.DEVNULL)
    os.environ["REDIS_URL"] = f"redis://127.0.0.1:{port}/0"
    try:
        wait_for(port)
        yield
    finally:
        process.terminate()
        process.wait(10)


def prepare(home: Path) -> dict[str, str]:
    """Openbell with a trader; what wrk's script wants to know."""
    os.environ |= {
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "OPENBELL_HOME": str(home),
        "OPENBELL_ENV_FILE": os.devnull,
        "SECRET_KEY": "only-for-this-benchmark",
        "RATE_LIMIT_PER_MINUTE": "100000000",
    }
    import django
    from django.conf import settings
    from django.core.management import call_command

    django.setup()
    settings.MARKET_HOME.mkdir(parents=True, exist_ok=True)
    call_command("migrate", verbosity=0)
    from tests.people import a_trader

    trader = a_trader()
    dice = random.Random(1)
    lists = [",".join(sorted(dice.sample(SYMBOLS, LIST_LENGTH))) for _ in range(LISTS)]
    watchlists = home / "watchlists"
    watchlists.write_text("\n".join(lists))
    return {"WATCHLISTS": str(watchlists), "KEY_ID": trader.key_id, "SECRET": trader.secret}


@contextmanager
def feeding() -> Iterator[None]:
    """Quotes for all: in Openbell's store and on its bus, and as JSON where the peers look."""
    stop = threading.Event()
    thread = threading.Thread(target=feed, args=(stop,))
    feed_once(1, SYMBOLS)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        from quotes.streaming.bus import forget_bus

        forget_bus()


def feed(stop: threading.Event) -> None:
    number = 1
    while not stop.wait(FEED_SECONDS):
        number += 1
        begin = number * FEED_QUOTES % len(SYMBOLS)
        feed_once(number, SYMBOLS[begin : begin + FEED_QUOTES])


def feed_once(number: int, symbols: list[str]) -> None:
    import orjson
    from django.conf import settings
    from redis import Redis

    from quotes import latest
    from quotes.streaming.bus import TICK_TOPICS, bus
    from quotes.streaming.codec import quote_item, rfc3339
    from quotes.ticks import Batch, Quote

    at_us = time.time_ns() // 1000
    bid = 1_000_000 + number % 1_000
    quotes = [
        Quote(symbol, at_us, bid, 300, bid + 100, 200, number, 1, at_us, "P", "Q")
        for symbol in symbols
    ]
    latest.put_many(quotes)
    bus().publish(TICK_TOPICS[0], Batch(tuple(quotes), at_us, 1, number))
    with Redis.from_url(settings.REDIS_URL) as peers:
        peers.mset({f"peer:{q.symbol}": orjson.dumps(quote_item(q, rfc3339)) for q in quotes})


@contextmanager
def serving(name: str, command: list[str], more: dict[str, str]) -> Iterator[Server]:
    port = free_port()
    if command[0] == str(PEERS_PYTHON):
        command = [*command, "--port", str(port)]
    with running(command, {**more, "PORT": str(port)}) as process:
        wait_for(port)
        yield Server(name, port, [process])


@contextmanager
def serving_through_edge(home: Path) -> Iterator[Server]:
    from benchmarks import edge

    name = "Openbell, /public/, edge"
    with serving(name, GUNICORN, {"WEB_WORKERS": str(WORKERS)}) as web:
        port = free_port()
        nginx = edge.nginx(home, port, web.port)
        process = subprocess.Popen(nginx, start_new_session=True)
        try:
            wait_for(port)
            yield Server(name, port, [process, *web.processes], EDGE_READS)
        finally:
            process.terminate()
            process.wait(10)


def check(servers: list[Server], load: dict[str, str]) -> None:
    """All but the empty view answer the same quotes, up to how far the feed has come meanwhile."""
    symbols = Path(load["WATCHLISTS"]).read_text().partition("\n")[0]
    keys = {"APCA-API-KEY-ID": load["KEY_ID"], "APCA-API-SECRET-KEY": load["SECRET"]}
    for server in servers:
        url = f"http://127.0.0.1:{server.port}{server.path}{symbols}"
        with urllib.request.urlopen(
            urllib.request.Request(url, headers=keys), timeout=START_SECONDS
        ) as said:
            quotes = json.load(said)["quotes"]
        if "empty" not in server.name:
            assert list(quotes) == symbols.split(","), server.name
            assert all(quote["bx"] == "P" and quote["as"] == 200 for quote in quotes.values())


def measure(
    servers: list[Server], load: dict[str, str], rounds: int, seconds: int
) -> dict[str, list[Run]]:
    """Every server once in each round, so that what else the machine does hits all alike."""
    runs: dict[str, list[Run]] = {server.name: [] for server in servers}
    for _ in range(rounds):
        for server in servers:
            wrk(server, load, 1)
            runs[server.name].append(drive(server, load, seconds))
    return runs


def drive(server: Server, load: dict[str, str], seconds: int) -> Run:
    before = server.cpu_ns()
    said = wrk(server, load, seconds)
    spent = server.cpu_ns() - before
    requests = int(found(r"(\d+) requests in", said))
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", said)
    busy = int(refused[1]) / requests if refused else 0.0
    if busy > REFUSED_MAX or "Socket errors" in said:
        raise SystemExit(f"{server.name} did not answer every request:\n{said}")
    return Run(
        float(found(r"Requests/sec:\s+([\d.]+)", said)),
        spent / 1000 / requests,
        milliseconds(found(r"(?m)^ +50%\s+(\S+)", said)),
        milliseconds(found(r"(?m)^ +99%\s+(\S+)", said)),
    )


def wrk(server: Server, load: dict[str, str], seconds: int) -> str:
    """Ask for lists for so long; what wrk says of it."""
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency"]
    command += ["-s", str(PEERS / "load.lua"), f"http://127.0.0.1:{server.port}"]
    told = {**os.environ, **load, "READS": server.path}
    return subprocess.run(command, env=told, capture_output=True, text=True, check=True).stdout


def print_table(servers: list[Server], runs: dict[str, list[Run]]) -> None:
    medians = {
        server.name: Run(*map(statistics.median, zip(*runs[server.name], strict=True)))
        for server in servers
    }
    peer = medians["FastAPI"]
    print(f"\n{LIST_LENGTH} of {len(SYMBOLS)} quotes, {WORKERS} processes, median of the rounds")
    print(f"{'':26}{'req/s':>8}{'× FastAPI':>11}{'CPU µs':>8}{'× FastAPI':>11}{'p50':>8}{'p99':>8}")
    for name, run in medians.items():
        faster, dearer = run.per_second / peer.per_second, run.cpu_us / peer.cpu_us
        print(
            f"{name:26}{run.per_second:8,.0f}{faster:11.2f}{run.cpu_us:8.0f}{dearer:11.2f}"
            f"{run.p50_ms:6.1f}ms{run.p99_ms:6.1f}ms"
        )
    edge = medians[servers[-1].name]
    hits = 1 - LISTS / EDGE_SECONDS / edge.per_second
    print(f"\nOf what the edge was asked, at least {max(hits, 0.0):.1%} came from its cache.")


def found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    assert match is not None, text
    return match[1]


def milliseconds(text: str) -> float:
    """wrk's 850.00us, 3.20ms or 1.10s."""
    number, unit = found(r"([\d.]+)", text), text.lstrip("0123456789.")
    return float(number) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[unit]


if __name__ == "__main__":
    main()
