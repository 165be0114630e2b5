"""A rolling restart of both stream processes behind nginx, with a crowd of clients connected."""

from __future__ import annotations

import asyncio
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

from config.server.server import CLOSES_PER_SECOND, CLOSING_SECONDS_MAX
from quotes.streaming.limits import SOCKETS_PER_KEY_MAX
from tests.conftest import LONG, ROOT
from tests.deploy.cluster import Cluster
from tests.deploy.crowd import Crowd

CLIENTS = 2_000 if LONG else 200
STOP_SECONDS_MAX = 20.0
START_SECONDS_MAX = 60.0
PACE_SECONDS = 0.5

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


def is_ready(port: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


class Deployment:
    """Replaces stream processes by new ones, as a deployment does."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.environment = cluster.environment
        self.started: list[subprocess.Popen[bytes]] = []

    def stop(self, name: str) -> float:
        """Ask it to end; the seconds that it took."""
        pid, begun = self.cluster.pid(name), time.monotonic()
        os.kill(pid, signal.SIGTERM)
        while os.path.exists(f"/proc/{pid}"):
            assert time.monotonic() - begun < STOP_SECONDS_MAX, f"{name} does not end"
            time.sleep(0.05)
        return time.monotonic() - begun

    def start(self, name: str) -> None:
        port = self.environment[f"{name.upper()}_PORT"]
        command = [sys.executable, "-m", "config.server"]
        told = self.environment | {"PORT": port}
        self.started.append(subprocess.Popen(command, cwd=ROOT, env=told))
        begun = time.monotonic()
        while not is_ready(port):
            assert time.monotonic() - begun < START_SECONDS_MAX, f"{name} does not start"
            time.sleep(0.1)

    def end(self) -> None:
        for process in self.started:
            process.terminate()
        for process in self.started:
            assert process.wait(STOP_SECONDS_MAX) == 0


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
    url = f"ws://127.0.0.1:{cluster.port}/v2/iex?honest=1"
    with deploying(cluster) as deployment:
        async with Crowd(url, keys, symbols, count) as crowd:
            await crowd.until_well()
            for name in ("stream1", "stream2"):
                begun, crowd.longest_stall = time.monotonic(), 0.0
                await asyncio.to_thread(deployment.stop, name)
                await crowd.until_well()
                returns, stalled = crowd.returns_since(begun), crowd.longest_stall
                await asyncio.to_thread(deployment.start, name)
            check_curve(returns, count, stalled)
            check_goodbyes(crowd)
            assert sum(client.disagreed for client in crowd.clients) == 0


def check_curve(returns: list[float], count: int, stalled: float) -> None:
    """All were on the second process, and came back no faster than it sent them away.

    While we ourselves are `stalled`, those who come back wait to be counted.
    """
    assert len(returns) == count
    seconds = min(count / CLOSES_PER_SECOND, CLOSING_SECONDS_MAX)
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
