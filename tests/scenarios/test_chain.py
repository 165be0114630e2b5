"""Two Openbells, the second fed by the first, with restarts in between."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from quotes.halts import UPSTREAM
from tests.running import RunningPlatform
from tests.scenarios.browsing import Operator
from tests.scenarios.chain import Listener, assert_alike
from tests.waiting import eventually

HEARD = 60  # trades; some seconds of busy symbols
HALTED = "TSLA"


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


def chained(home: Path, first: RunningPlatform) -> RunningPlatform:
    settings = {
        "FEED": "alpaca",
        "UPSTREAM_URL": f"ws://127.0.0.1:{first.port}/v2/iex",
        "UPSTREAM_KEY_ID": first.key,
        "UPSTREAM_SECRET_KEY": first.secret,
    }
    return RunningPlatform(home, settings)


def listen_to_both(one: Listener, other: Listener, trades: int = HEARD) -> None:
    other.hear_trades(trades)
    one.hear_beyond(other)
    assert_alike(one, other, trades // 2)


def says_that_trading_goes_on(message: dict[str, Any]) -> bool:
    """The resumption, or that it was before."""
    if message.get("S") != HALTED:
        return False
    return message.get("sc") == "T" or message.get("halted") is False


def test_a_chain_tells_what_its_first_link_tells_and_never_more(
    platform: RunningPlatform, tmp_path: Path
) -> None:
    operator = Operator(platform)
    with chained(tmp_path / "second", platform) as second:
        assert feed_of(second) == "ok"
        assert [each["symbol"] for each in ask(second, "/v2/assets")[1]] == [
            each["symbol"] for each in ask(platform, "/v2/assets")[1]
        ]
        one, other = Listener(platform), Listener(second)
        listen_to_both(one, other, trades=20)

        operator.halt(HALTED, "news pending")
        try:
            other.hear(lambda message: message["T"] == "s")
            assert other.statuses == [(HALTED, "H", f"{UPSTREAM}: news pending")]
            assert second.stop() == 0
        finally:
            operator.resume(HALTED)
        with second:
            other = Listener(second)
            other.hear(says_that_trading_goes_on)
            listen_to_both(one, other, trades=20)


@pytest.mark.long
def test_a_chain_is_silent_while_its_first_link_is_away(tmp_path: Path) -> None:
    with (
        RunningPlatform(tmp_path / "first") as first,
        chained(tmp_path / "second", first) as second,
    ):
        one, other = Listener(first), Listener(second)
        listen_to_both(one, other)

        assert first.process is not None
        first.process.kill()
        first.process.wait()
        eventually(lambda: feed_of(second) == "away", "the silence to be noticed")
        order = {"symbol": "SPY", "qty": "1", "side": "buy", "type": "market"}
        status, refused = ask(second, "/v2/orders", **order, time_in_force="day")
        assert (status, refused["code"]) == (422, 42210000), refused

        with first:
            eventually(lambda: feed_of(second) == "ok", "the first link to be back")
            one = Listener(first)
            listen_to_both(one, other)
            status, order = ask(second, "/v2/orders", **order, time_in_force="day")
            assert status == 200, order

            assert second.stop() == 0
            with second:
                listen_to_both(one, Listener(second))
