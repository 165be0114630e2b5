"""A rolling restart of both stream processes behind nginx, with a crowd of clients connected."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from websockets.asyncio.client import connect

from config.server.server import CLOSES_PER_SECOND, CLOSING_SECONDS_MAX
from quotes.latest.redis import RedisStore
from quotes.streaming.limits import SOCKETS_PER_KEY_MAX
from quotes.ticks import Quote
from tests.conftest import LONG, ROOT
from tests.deploy.cluster import Cluster
from tests.deploy.crowd import PATIENCE_SECONDS, Crowd, longest_pause

CLIENTS = 2_000 if LONG else 200
STOP_SECONDS_MAX = 20.0
START_SECONDS_MAX = 60.0
PACE_SECONDS = 0.5
NOTICE_SECONDS = 2  # of the processes that a deployment starts

SIGN_UP = """
from decimal import Decimal
from django.contrib.auth import get_user_model
from access.keys import create_key
from portfolios.accounts import open_account
for n in range({count}):
    user = get_user_model().objects.create_user(f"crowd-{{n}}")
    account = open_account(user=user, cash=Decimal(1000), actor="system")
    key, secret = create_key(account_id=account.pk, user=user, name="crowd", actor="system")
    print("KEY", key.key_id, secret)
from quotes.models import Instrument
print("SYMBOLS", *Instrument.objects.values_list("symbol", flat=True))
"""


def sign_up(cluster: Cluster, count: int) -> tuple[list[list[str]], list[str]]:
    """Keys of so many new accounts, and every symbol."""
    done = subprocess.run(
        [sys.executable, "manage.py", "shell", "-c", SIGN_UP.format(count=count)],
        cwd=ROOT,
        env=cluster.environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    said = [line.split() for line in done.stdout.splitlines()]
    keys = [words[1:] for words in said if words[:1] == ["KEY"]]
    symbols = next((words[1:] for words in said if words[:1] == ["SYMBOLS"]), [])
    assert len(keys) == count, done.stdout + done.stderr
    return keys, symbols


def stored(cluster: Cluster, symbols: list[str]) -> dict[str, Quote]:
    """The newest quote of each symbol, as the feed has put it where no stream process writes."""
    store = RedisStore(cluster.environment["REDIS_URL"])
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        stands = {symbol: each.quote for symbol, each in store.get_many(symbols).items()}
        found = {symbol: quote for symbol, quote in stands.items() if quote is not None}
        if found.keys() == set(symbols):
            return found
        assert time.monotonic() < deadline, f"of {len(symbols)} symbols, quotes of {len(found)}"
        time.sleep(0.1)


def readiness(port: str) -> tuple[int, Any]:
    """What a balancer is told: status and content; 0 where nobody answers."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refusal:
        return refusal.code, json.load(refusal)
    except (urllib.error.URLError, OSError):
        return 0, None


class Deployment:
    """Replaces stream processes by new ones, as a deployment does."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.environment = cluster.environment
        self.started: dict[str, subprocess.Popen[bytes]] = {}

    def port(self, name: str) -> str:
        return self.environment[f"{name.upper()}_PORT"]

    def stop(self, name: str) -> float:
        """Ask it to end; the seconds that it took."""
        pid, begun = self.cluster.pid(name), time.monotonic()
        os.kill(pid, signal.SIGTERM)
        while os.path.exists(f"/proc/{pid}"):
            assert time.monotonic() - begun < STOP_SECONDS_MAX, f"{name} does not end"
            time.sleep(0.05)
        return time.monotonic() - begun

    def start(self, name: str) -> None:
        told = {"PORT": self.port(name), "DRAIN_NOTICE_SECONDS": str(NOTICE_SECONDS)}
        command = [sys.executable, "-m", "config.server"]
        self.started[name] = subprocess.Popen(command, cwd=ROOT, env=self.environment | told)
        begun = time.monotonic()
        while readiness(self.port(name))[0] != 200:
            assert time.monotonic() - begun < START_SECONDS_MAX, f"{name} does not start"
            time.sleep(0.1)

    def end(self) -> None:
        for process in self.started.values():
            process.terminate()
        for process in self.started.values():
            assert process.wait(STOP_SECONDS_MAX) == 0

    def end_with_notice(self, name: str) -> None:
        """Ask it to end: it says that it will, and still answers until the notice is over."""
        process, begun = self.started[name], time.monotonic()
        process.terminate()
        answer: tuple[int, Any] = (200, None)
        while answer[0] == 200:
            answer = readiness(self.port(name))
        assert answer == (503, {"process": "leaving"})
        assert process.wait(STOP_SECONDS_MAX) == 0
        assert time.monotonic() - begun > NOTICE_SECONDS


@contextmanager
def deploying(cluster: Cluster) -> Iterator[Deployment]:
    deployment = Deployment(cluster)
    try:
        yield deployment
    finally:
        deployment.end()


def busiest(instants: list[float]) -> int:
    """The most of them within `PACE_SECONDS`."""
    return max(sum(at <= each < at + PACE_SECONDS for each in instants) for at in instants)


async def restart_both(cluster: Cluster, count: int) -> None:
    keys, symbols = await asyncio.to_thread(sign_up, cluster, count // SOCKETS_PER_KEY_MAX + 1)
    stands = await asyncio.to_thread(stored, cluster, symbols)
    url = f"ws://127.0.0.1:{cluster.port}/v2/iex?honest=1"
    with deploying(cluster) as deployment:
        async with Crowd(url, keys, symbols, count) as crowd:
            await crowd.until_well(stands)
            for name in ("stream1", "stream2"):
                begun, stalled = time.monotonic(), await stop_under(crowd, deployment, name)
                check_pace(crowd.departures_since(begun), begun, stalled)
                returns = crowd.returns_since(begun)
                await asyncio.to_thread(deployment.start, name)
            check_curve(returns, count, crowd.longest_stall)
            check_goodbyes(crowd)
            assert sum(client.disagreed for client in crowd.clients) == 0
        await asyncio.to_thread(deployment.end_with_notice, "stream1")


async def stop_under(crowd: Crowd, deployment: Deployment, name: str) -> float:
    """Stop a process; how long it or we stood still meanwhile, once the crowd knows all it told."""
    crowd.longest_stall = 0.0
    address = f"ws://127.0.0.1:{deployment.port(name)}/v2/iex"
    symbols = sorted({client.symbol for client in crowd.clients})
    async with connect(address, compression=None) as socket:  # sent away as the last
        pause = asyncio.create_task(longest_pause(socket))
        stands = await asyncio.to_thread(stored, deployment.cluster, symbols)
        await asyncio.to_thread(deployment.stop, name)
        await crowd.until_well(stands)
        return crowd.longest_stall + await pause


def seconds_to_close(count: int) -> float:
    return min(count / CLOSES_PER_SECOND, CLOSING_SECONDS_MAX)


def check_pace(left: list[float], begun: float, stalled: float) -> None:
    """They were sent away one after the other, none before its turn.

    Whom a server has to close while it stands still, it closes all at once afterwards.
    """
    count, seconds = len(left), seconds_to_close(len(left))
    print(f"{count} clients left within {left[-1] - begun:.1f} s, at most {busiest(left)} of them")
    print(f"in {PACE_SECONDS} s, in which server and clients stood still for {stalled:.2f} s")
    for number, at in enumerate(left):
        assert at - begun > 0.99 * seconds * number / count, f"the {number}. left too early"
    assert busiest(left) <= 2 * count * (PACE_SECONDS + stalled) / seconds


def check_curve(returns: list[float], count: int, stalled: float) -> None:
    """All were on the second process, and came back as evenly as it sent them away.

    While we ourselves are `stalled`, those who come back wait to be counted.
    """
    assert len(returns) == count
    seconds = seconds_to_close(count)
    print(f"{count} clients came back within {returns[-1] - returns[0]:.1f} s,")
    print(f"at most {busiest(returns)} of them in {PACE_SECONDS} s, counted {stalled:.1f} s late")
    begun = returns[0]
    curve = Counter(int((at - begun) / PACE_SECONDS) for at in returns)
    print(f"by steps of {PACE_SECONDS} s:", *(curve[step] for step in range(max(curve) + 1)))
    assert returns[-1] - returns[0] > 0.8 * seconds
    # Twice the pace, or a quarter of all where the machine is busy with others: no herd.
    allowed = max(2 * count * (PACE_SECONDS + stalled) / seconds, count / 4)
    assert busiest(returns) < allowed


def check_goodbyes(crowd: Crowd) -> None:
    left = [each for client in crowd.clients for each in client.left]
    assert len(left) >= len(crowd.clients)
    assert {(code, warned) for _, code, warned in left} == {(1001, True)}


async def test_a_rolling_restart_loses_no_last_value(cluster: Cluster) -> None:
    await restart_both(cluster, CLIENTS)
