"""Streams by a login session, over real sockets: from our own pages and from nobody else's."""

from __future__ import annotations

import json

import pytest
from websockets.sync.client import ClientConnection, connect

from tests.running import RunningPlatform
from tests.scenarios.browsing import WAIT_SECONDS_MAX, Browser

LISTEN = {"action": "listen", "data": {"streams": ["trade_updates"]}}


@pytest.fixture(scope="module")
def cookies(platform: RunningPlatform) -> str:
    """What the browser of somebody who has just signed up sends along."""
    browser = Browser(platform)
    browser.sign_up()
    return browser.cookies


def open_stream(platform: RunningPlatform, path: str, **headers: str) -> ClientConnection:
    url = f"ws://127.0.0.1:{platform.port}/{path}"
    return connect(url, additional_headers=headers, proxy=None, open_timeout=WAIT_SECONDS_MAX)


def hear(stream: ClientConnection) -> object:
    return json.loads(stream.recv(WAIT_SECONDS_MAX))


def test_a_page_of_ours_opens_both_streams(platform: RunningPlatform, cookies: str) -> None:
    with open_stream(platform, "v2/iex", Cookie=cookies, Origin=platform.url) as stream:
        assert hear(stream) == [{"T": "success", "msg": "connected"}]
        assert hear(stream) == [{"T": "success", "msg": "authenticated"}]
    with open_stream(platform, "stream", Cookie=cookies, Origin=platform.url) as stream:
        stream.send(json.dumps(LISTEN))
        assert hear(stream) == {"stream": "listening", "data": {"streams": ["trade_updates"]}}


@pytest.mark.parametrize(
    "origin",
    [
        {},
        {"Origin": "https://elsewhere.example"},
        {"Origin": "http://localhost"},
        {"Origin": "null"},
    ],
)
def test_another_page_is_a_stranger_whatever_cookies_ride_along(
    platform: RunningPlatform, cookies: str, origin: dict[str, str]
) -> None:
    with open_stream(platform, "v2/iex", Cookie=cookies, **origin) as stream:
        assert hear(stream) == [{"T": "success", "msg": "connected"}]
        stream.send(json.dumps({"action": "subscribe", "quotes": ["AAPL"]}))
        assert hear(stream) == [{"T": "error", "code": 401, "msg": "not authenticated"}]
    with open_stream(platform, "stream", Cookie=cookies, **origin) as stream:
        stream.send(json.dumps(LISTEN))
        data = {"status": "unauthorized", "action": "listen"}
        assert hear(stream) == {"stream": "authorization", "data": data}
