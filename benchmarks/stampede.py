"""A thousand requests at once for a key that has just expired: how often is it loaded?

    deploy/local/servers.sh .venv/bin/python benchmarks/stampede.py

A gunicorn with two processes of 32 threads answers from Redis; what Redis does not have, a list of
all instruments, costs one query on MariaDB. A thousand connections stand open, then all ask at
once. The key is made to expire before each wave: *expired* has outlived its time but is still
there, *missing* is gone. Beside it, in the same run, Django's `cache.get` and `cache.set`, to which
an expired key is a missing one. The server is told to refuse nobody (benchmarks/peers), as it would
what exceeds its queue, or the caches would not see the crowd.

Printed, medians over the waves: loads, which are the SELECTs that MariaDB counted (and the most in
any wave), and the median and 99th percentile of the time to an answer, most of it the queue for a
thread, the same for all. On a machine so busy that Redis misses its time-out of 0.2 s, a process
takes it for away, says so, and loads once for itself.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.own_database import own_database  # noqa: E402
from tests.running import free_port  # noqa: E402

WORKERS, THREADS = 2, 32
KEY = "everything"
INSTRUMENTS = 200
WAVE_SECONDS_MAX = 120
START_SECONDS = 120  # on a machine that is full
GUNICORN = [sys.executable, "-m", "gunicorn", "-c", "python:config.server.gunicorn_settings"]


class Wave(NamedTuple):
    selects: int
    p50_ms: float
    p99_ms: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=1_000)
    parser.add_argument("--waves", type=int, default=5)
    options = parser.parse_args()
    with own_database(with_redis=True) as database, site() as port:
        list_instruments()
        contestants: dict[str, tuple[str, Callable[[], None]]] = {
            "cache.get and cache.set, missing": ("plain", drop_plain),
            "get_or_load_many, missing": ("ours", forget_ours),
            "get_or_load_many, expired": ("ours", expire_ours),
        }
        # A thread that connects asks the server's version, which would count as a load.
        asyncio.run(wave(port, "connected", 4 * WORKERS * THREADS))
        waves: dict[str, list[Wave]] = {title: [] for title in contestants}
        for _ in range(options.waves):
            for title, (name, expire) in contestants.items():
                waves[title].append(measure(port, name, expire, options.requests))
    print_table(database, options.requests, waves)


@contextmanager
def site() -> Iterator[int]:
    from django.db import connection

    port = free_port()
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "benchmarks.peers.stampede_site",
        "STAMPEDE_SCHEMA": str(connection.settings_dict["NAME"]),
        "PORT": str(port),
        "WEB_WORKERS": str(WORKERS),
        "HTTP_THREADS": str(THREADS),
    }
    command = [*GUNICORN, "django.core.wsgi:get_wsgi_application()"]
    process = subprocess.Popen(command, cwd=ROOT, env=environment, start_new_session=True)
    try:
        wait_for(port, process)
        yield port
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # gracefully it would wait for its clients
        process.wait(10)


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                break
            time.sleep(0.1)
    raise SystemExit(f"the web processes did not start ({process.poll()})")


def list_instruments() -> None:
    from quotes.models import Instrument

    Instrument.objects.bulk_create(
        [Instrument(symbol=f"SYM{number}") for number in range(INSTRUMENTS)]
    )


def drop_plain() -> None:
    from django.core.cache import caches

    caches["default"].delete(KEY)


def forget_ours() -> None:
    from django.core.cache import caches

    caches["quotes"].forget("assets")  # type: ignore[attr-defined]


def expire_ours() -> None:
    """Let its time be over, as if so many seconds had passed."""
    from config.caching.policy import NAMESPACES

    stale_ms = int(NAMESPACES["assets"].stale_seconds * 1000)
    redis = redis_client()
    root = f"openbell:cache:assets.{NAMESPACES['assets'].version}"
    generation = redis.get(root).decode()
    assert redis.pexpire(f"{root}:{generation}:{KEY}", stale_ms)


def redis_client() -> Any:
    from django.conf import settings
    from redis import Redis

    return Redis.from_url(settings.REDIS_URL)


def measure(port: int, name: str, expire: Callable[[], None], requests: int) -> Wave:
    expire()
    before = selects()
    taken = asyncio.run(wave(port, name, requests))
    counted = selects() - before
    ordered = sorted(1_000 * each for each in taken)
    return Wave(counted, statistics.median(ordered), ordered[int(0.99 * (len(ordered) - 1))])


async def wave(port: int, name: str, requests: int) -> list[float]:
    """Seconds to each right answer."""
    gate = asyncio.Event()
    text = f"GET /{name} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()

    async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> float:
        await gate.wait()
        began = time.perf_counter()
        writer.write(text)
        headers = await reader.readuntil(b"\r\n\r\n")
        body = await reader.read(100)
        taken = time.perf_counter() - began
        writer.close()
        if not headers.startswith(b"HTTP/1.1 200") or body != str(INSTRUMENTS).encode():
            raise SystemExit(f"/{name} answered {headers!r} {body!r}")
        return taken

    async with asyncio.timeout(WAVE_SECONDS_MAX):
        open_ones = [await asyncio.open_connection("127.0.0.1", port) for _ in range(requests)]
        jobs = [asyncio.create_task(ask(*each)) for each in open_ones]
        await asyncio.sleep(0)
        gate.set()
        return await asyncio.gather(*jobs)


def selects() -> int:
    """How many SELECTs MariaDB has been sent."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SHOW GLOBAL STATUS LIKE 'Com_select'")
        return int(cursor.fetchone()[1])


def print_table(database: str, requests: int, waves: dict[str, list[Wave]]) -> None:
    print(
        f"\n{requests:,} requests at once, {WORKERS} processes × {THREADS} threads, {database}\n"
        f"{'':36}{'loads':>7}{'most':>7}{'p50':>10}{'p99':>10}"
    )
    for title, some in waves.items():
        selects, p50, p99 = map(statistics.median, zip(*some, strict=True))
        most = max(wave.selects for wave in some)
        print(f"{title:36}{selects:7.0f}{most:7}{p50:8.0f}ms{p99:8.0f}ms")


if __name__ == "__main__":
    main()
