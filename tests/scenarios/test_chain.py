"""Two Openbells, the second fed by the first, with restarts in between."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

from tests.running import RunningPlatform

WAIT_SECONDS = 30.0
SYMBOLS = ["AAPL", "AMZN", "IWM", "MSFT", "NVDA", "QQQ", "SPY", "TSLA"]
HEARD = 60  # trades; some seconds of busy symbols


class Listener:
    """An honest client of a platform's market data."""

    def __init__(self, platform: RunningPlatform) -> None:
        url = f"ws://127.0.0.1:{platform.port}/v2/iex?honest=1"
        self.socket: ClientConnection = connect(url, proxy=None, compression=None, legacy=True)
        self.trades: dict[tuple[str, int, int], tuple[Any, ...]] = {}  # by symbol and place
        self.say(action="auth", key=platform.key, secret=platform.secret)
        self.say(action="subscribe", trades=SYMBOLS, quotes=SYMBOLS)

    def say(self, **message: Any) -> None:
        self.socket.send(json.dumps(message))

    def hear(self, until: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Listen until a message is what was waited for."""
        deadline = time.monotonic() + WAIT_SECONDS
        while True:
            for message in json.loads(self.socket.recv(timeout=deadline - time.monotonic())):
                if message["T"] == "t":
                    place = message["S"], message["epoch"], message["seq"]
                    self.trades[place] = (message["t"], message["p"], message["s"])
                if until(message):
                    return message

    def hear_trades(self, count: int) -> None:
        """Listen for so many more."""
        enough = len(self.trades) + count
        self.hear(lambda _: len(self.trades) >= enough)


def ask(platform: RunningPlatform, path: str, **order: str) -> tuple[int, Any]:
    """What the API answers to a GET, or to an order."""
    request = urllib.request.Request(
        platform.url + path,
        data=json.dumps(order).encode() if order else None,
        headers={
            "APCA-API-KEY-ID": platform.key,
            "APCA-API-SECRET-KEY": platform.secret,
            "Content-Type": "application/json",
        },
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def feed_of(platform: RunningPlatform) -> str:
    return str(ask(platform, "/readyz")[1]["feed"])


def wait_until(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not holds():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.1)


def chained(home: Path, first: RunningPlatform) -> RunningPlatform:
    settings = {
        "FEED": "alpaca",
        "UPSTREAM_URL": f"ws://127.0.0.1:{first.port}/v2/iex",
        "UPSTREAM_KEY_ID": first.key,
        "UPSTREAM_SECRET_KEY": first.secret,
    }
    return RunningPlatform(home, settings)


@pytest.fixture
def first(tmp_path: Path) -> Iterator[RunningPlatform]:
    with RunningPlatform(tmp_path / "first") as platform:
        yield platform


def told_alike(first: Listener, second: Listener) -> None:
    """Every trade that the second tells is one of the first, and in between none is missing."""
    alike = 0
    for symbol in SYMBOLS:
        original = [each for (name, *_), each in first.trades.items() if name == symbol]
        told = [each for (name, *_), each in second.trades.items() if name == symbol]
        shared = [each for each in told if each in original]
        alike += len(shared)
        if shared:
            begin, end = original.index(shared[0]), original.index(shared[-1])
            assert original[begin : end + 1] == shared
    assert alike >= HEARD // 3


@pytest.mark.long
def test_a_chain_tells_what_its_first_link_tells_and_never_more(
    first: RunningPlatform, tmp_path: Path
) -> None:
    with chained(tmp_path / "second", first) as second:
        assert feed_of(second) == "ok"
        assert [each["symbol"] for each in ask(second, "/v2/assets")[1]] == [
            each["symbol"] for each in ask(first, "/v2/assets")[1]
        ]
        one, other = Listener(first), Listener(second)
        other.hear_trades(HEARD)
        one.hear_trades(HEARD + 10)
        other.hear_trades(HEARD // 3)
        told_alike(one, other)

        assert first.process is not None
        first.process.kill()
        first.process.wait()
        wait_until(lambda: feed_of(second) == "away", "the silence to be noticed")
        order = {"symbol": "SPY", "qty": "1", "side": "buy", "type": "market"}
        status, refused = ask(second, "/v2/orders", **order, time_in_force="day")
        assert (status, refused["code"]) == (422, 42210000), refused

        with first:
            wait_until(lambda: feed_of(second) == "ok", "the first link to be back")
            one = Listener(first)
            other.hear_trades(HEARD)
            one.hear_trades(HEARD)
            other.hear_trades(HEARD // 3)
            told_alike(one, other)
            status, order = ask(second, "/v2/orders", **order, time_in_force="day")
            assert status == 200, order

            assert second.stop() == 0
            with second:
                other = Listener(second)
                other.hear_trades(HEARD // 3)
                one.hear_trades(HEARD)
                other.hear_trades(HEARD // 3)
                told_alike(one, other)
