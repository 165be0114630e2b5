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
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, NamedTuple

from websockets.asyncio.client import connect

from config.server.server import CLOSES_PER_SECOND, CLOSING_SECONDS_MAX
from quotes.latest.redis import RedisStore
from quotes.streaming.limits import SOCKETS_PER_KEY_MAX
from quotes.ticks import Quote
from tests.conftest import LONG, ROOT
from tests.deploy.cluster import COMMAND_SECONDS_MAX, Cluster
from tests.deploy.crowd import PATIENCE_SECONDS, Crowd, Pulse
from tests.waiting import eventually

CLIENTS = 2_000 if LONG else 200
STOP_SECONDS_MAX = 20.0 if LONG else 60.0
START_SECONDS_MAX = 120.0
ANSWER_SECONDS_MAX = 10.0
PACE_SECONDS = 0.5
NOTICE_SECONDS = 6  # of the process that is asked what it says meanwhile

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
        timeout=COMMAND_SECONDS_MAX,
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
        url = f"http://127.0.0.1:{port}/readyz"
        with urllib.request.urlopen(url, timeout=ANSWER_SECONDS_MAX) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refusal:
        return refusal.code, json.load(refusal)
    except (urllib.error.URLError, OSError):
        return 0, None


class Deployment:
    """Replaces stream processes by new ones, as a deployment does."""

    def __init__(self, cluster: Cluster, key: list[str]) -> None:
        self.cluster = cluster
        self.key = dict(zip(("APCA-API-KEY-ID", "APCA-API-SECRET-KEY"), key, strict=True))
        self.environment = cluster.environment
        self.started: dict[str, subprocess.Popen[bytes]] = {}

    def port(self, name: str) -> str:
        return self.environment[f"{name.upper()}_PORT"]

    def stop(self, name: str) -> float:
        """Ask it to end, and wait until it has; the instant at which it was asked."""
        pid, asked_at = self.cluster.pid(name), time.monotonic()
        os.kill(pid, signal.SIGTERM)
        has_ended = f"{name} to end"
        eventually(lambda: not os.path.exists(f"/proc/{pid}"), has_ended, STOP_SECONDS_MAX)
        return asked_at

    def start(self, name: str, notice_seconds: int = 0) -> None:
        told = {"PORT": self.port(name), "DRAIN_NOTICE_SECONDS": str(notice_seconds)}
        command = [sys.executable, "-m", "config.server"]
        self.started[name] = subprocess.Popen(command, cwd=ROOT, env=self.environment | told)
        is_ready = f"{name} to be ready"
        eventually(lambda: readiness(self.port(name))[0] == 200, is_ready, START_SECONDS_MAX)

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
def deploying(cluster: Cluster, key: list[str]) -> Iterator[Deployment]:
    deployment = Deployment(cluster, key)
    try:
        yield deployment
    finally:
        deployment.end()


def busiest(instants: list[float]) -> int:
    """The most of them within `PACE_SECONDS`."""
    return max(sum(at <= each < at + PACE_SECONDS for each in instants) for at in instants)


async def restart_both(cluster: Cluster, count: int) -> None:
    people = count // SOCKETS_PER_KEY_MAX + 1
    [ours, *keys], symbols = await asyncio.to_thread(sign_up, cluster, people + 1)
    stands = await asyncio.to_thread(stored, cluster, symbols)
    url = f"ws://127.0.0.1:{cluster.port}/v2/iex?honest=1"
    with deploying(cluster, ours) as deployment:
        async with Crowd(url, keys, symbols, count) as crowd:
            await crowd.until_well(stands)
            first = await stop_under(crowd, deployment, "stream1", beside="stream2")
            check_pace(crowd, first)
            await asyncio.to_thread(deployment.start, "stream1", NOTICE_SECONDS)
            second = await stop_under(crowd, deployment, "stream2", beside="stream1")
            check_pace(crowd, second)
            check_curve(crowd, second)
            await asyncio.to_thread(deployment.start, "stream2")
            check_goodbyes(crowd)
            assert sum(client.disagreed for client in crowd.clients) == 0
        await asyncio.to_thread(deployment.end_with_notice, "stream1")


class Stop(NamedTuple):
    """When a process was asked to end, and the longest that somebody stood still meanwhile.

    What stands still does afterwards at once what it would have done one after the other: the
    process that sends clients away, the one that takes them in, and we who count.
    """

    asked_at: float
    leaver_stalled: float
    taker_stalled: float
    we_stalled: float


async def stop_under(crowd: Crowd, deployment: Deployment, name: str, *, beside: str) -> Stop:
    """Stop a process, and wait until the crowd knows all it told."""
    symbols = sorted({client.symbol for client in crowd.clients})
    async with pulse(deployment, name) as leaver, pulse(deployment, beside) as taker:
        stands = await asyncio.to_thread(stored, deployment.cluster, symbols)
        crowd.longest_stall = 0.0
        asked_at = await asyncio.to_thread(deployment.stop, name)
        await crowd.until_well(stands)
        return Stop(asked_at, leaver.longest_pause, taker.longest_pause, crowd.longest_stall)


@asynccontextmanager
async def pulse(deployment: Deployment, name: str) -> AsyncIterator[Pulse]:
    """Of a process, on a socket of our own; of all sockets the last that it sends away."""
    felt = Pulse()
    address = f"ws://127.0.0.1:{deployment.port(name)}/v2/iex"
    async with connect(
        address,
        additional_headers=deployment.key,
        compression=None,
        open_timeout=ANSWER_SECONDS_MAX,
    ) as socket:
        feeling = asyncio.create_task(felt.feel(socket))
        try:
            yield felt
        finally:
            feeling.cancel()


def seconds_to_close(count: int) -> float:
    return min(count / CLOSES_PER_SECOND, CLOSING_SECONDS_MAX)


def check_pace(crowd: Crowd, stop: Stop) -> None:
    """They were sent away one after the other, none before its turn.

    Whom a server has to close while it stands still, it closes all at once afterwards.
    """
    left = crowd.departures_since(stop.asked_at)
    count, seconds = len(left), seconds_to_close(len(left))
    stalled = stop.leaver_stalled + stop.we_stalled
    print(f"{count} clients left within {left[-1] - stop.asked_at:.1f} s, at most {busiest(left)}")
    print(f"in {PACE_SECONDS} s, in which server and clients stood still for {stalled:.2f} s")
    for number, at in enumerate(left):
        early = f"the {number}. left too early"
        assert at - stop.asked_at > 0.99 * seconds * number / count, early
    assert busiest(left) <= 2 * count * (PACE_SECONDS + stalled) / seconds


def check_curve(crowd: Crowd, stop: Stop) -> None:
    """All were on the second process, and came back as evenly as it sent them away.

    While the process that takes them in stands still, or we do, they wait and then come at once.
    """
    returns, count = crowd.returns_since(stop.asked_at), len(crowd.clients)
    assert len(returns) == count
    seconds = seconds_to_close(count)
    stalled = stop.leaver_stalled + stop.taker_stalled + stop.we_stalled
    curve = Counter(int((at - stop.asked_at) / PACE_SECONDS) for at in returns)
    print(f"{count} clients came back within {returns[-1] - stop.asked_at:.1f} s,")
    print(f"at most {busiest(returns)} of them in {PACE_SECONDS} s, up to {stalled:.1f} s late")
    print(f"by steps of {PACE_SECONDS} s:", *(curve[step] for step in range(max(curve) + 1)))
    assert returns[-1] - stop.asked_at > 0.8 * seconds
    # Twice the pace, or a quarter of all where the machine is busy with others: no herd.
    allowed = max(2 * count * (PACE_SECONDS + stalled) / seconds, count / 4)
    assert busiest(returns) < allowed


def check_goodbyes(crowd: Crowd) -> None:
    left = [each for client in crowd.clients for each in client.left]
    assert len(left) >= len(crowd.clients)
    assert {(code, warned) for _, code, warned in left} == {(1001, True)}


async def test_a_rolling_restart_loses_no_last_value(cluster: Cluster) -> None:
    await restart_both(cluster, CLIENTS)
