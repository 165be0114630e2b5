"""Who listens to two chained platforms, and compares what they tell."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any, NamedTuple

from websockets.sync.client import ClientConnection, connect

from tests.running import RunningPlatform

WAIT_SECONDS = 30.0
SYMBOLS = ["AAPL", "AMZN", "IWM", "MSFT", "NVDA", "QQQ", "SPY", "TSLA"]
TRADE_KEYS = ("t", "p", "s", "x", "c")
QUOTE_KEYS = ("t", "bp", "bs", "bx", "ap", "as", "ax")


class Told(NamedTuple):
    """A quote or a trade: when it happened, what it says, and its number where it was told."""

    at: str
    content: str
    number: int


class Listener:
    """An honest client of a platform's market data."""

    def __init__(self, platform: RunningPlatform) -> None:
        url = f"ws://127.0.0.1:{platform.port}/v2/iex?honest=1"
        # Without a bound in here, or the platform would take us for slow while we do not listen.
        self.socket: ClientConnection = connect(
            url, proxy=None, compression=None, max_queue=None, legacy=True
        )
        self.trades: dict[str, list[Told]] = defaultdict(list)
        self.quotes: dict[str, list[Told]] = defaultdict(list)
        self.statuses: list[tuple[str, str, str]] = []
        self.say(action="auth", key=platform.key, secret=platform.secret)
        self.say(action="subscribe", trades=SYMBOLS, quotes=SYMBOLS, statuses=SYMBOLS)

    def say(self, **message: Any) -> None:
        self.socket.send(json.dumps(message))

    def hear(self, until: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Listen until a message is what was waited for."""
        deadline = time.monotonic() + WAIT_SECONDS
        while True:
            for message in json.loads(self.socket.recv(timeout=deadline - time.monotonic())):
                self._note(message)
                if until(message):
                    return message

    def _note(self, message: dict[str, Any]) -> None:
        match message["T"]:
            case "t":
                self.trades[message["S"]].append(_told(message, TRADE_KEYS))
            case "q":
                self.quotes[message["S"]].append(_told(message, QUOTE_KEYS))
            case "s":
                self.statuses.append((message["S"], message["sc"], message["rm"]))

    def hear_trades(self, count: int) -> None:
        """Listen for so many more."""
        heard = self.count()
        self.hear(lambda _: self.count() >= heard + count)

    def hear_beyond(self, other: Listener) -> None:
        """Listen until everything was told that another one heard."""
        last = max(each[-1].at for each in (*other.trades.values(), *other.quotes.values()))
        self.hear(lambda message: message["T"] in "qt" and message["t"] > last)

    def count(self) -> int:
        return sum(map(len, self.trades.values()))


def _told(message: dict[str, Any], keys: Sequence[str]) -> Told:
    content = json.dumps([message[key] for key in keys])
    return Told(message["t"], content, message["seq"])


def assert_alike(first: Listener, second: Listener, least: int) -> None:
    """The second tells what the first does and nothing else, while both of them are heard.

    Of each symbol no trade is missing from its first one on, and none is invented. Quotes may be
    missing: only the newest counts.
    """
    one, other = (sorted(chain.from_iterable(each.trades.values())) for each in (first, second))
    begin, end = max(one[0].at, other[0].at), min(one[-1].at, other[-1].at)
    alike = 0
    for symbol in SYMBOLS:
        original, told = (
            [each.content for each in listener.trades[symbol] if begin < each.at < end]
            for listener in (first, second)
        )
        assert told == [] or told == original[-len(told) :], symbol
        alike += len(told)
    assert alike >= least
    assert sum(_quotes_alike(first.quotes[each], second.quotes[each]) for each in SYMBOLS) >= least


def _quotes_alike(original: list[Told], told: list[Told]) -> int:
    """How many are the same. What the first listener was not told, its numbers leave out."""
    known = {each.content for each in original}
    assert [each.at for each in told] == sorted(each.at for each in told)
    for each in told:
        before = [one.number for one in original if one.at <= each.at]
        after = [one.number for one in original if one.at >= each.at]
        if each.content not in known and before and after:
            assert min(after) - max(before) > 1, f"{each} is invented"
    return sum(each.content in known for each in told)
