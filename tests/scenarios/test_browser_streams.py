"""Streams by a login session, over real sockets: from our own pages and from nobody else's."""

from __future__ import annotations

import http.cookiejar
import json
import re
import urllib.parse
import urllib.request
import uuid

import pytest
from websockets.sync.client import ClientConnection, connect

from tests.running import RunningPlatform

WAIT_SECONDS_MAX = 20
LISTEN = {"action": "listen", "data": {"streams": ["trade_updates"]}}


@pytest.fixture(scope="module")
def cookies(platform: RunningPlatform) -> str:
    """What the browser of somebody who has just signed up sends along."""
    jar = http.cookiejar.CookieJar()
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar))
    address = f"{platform.url}/signup"
    with browser.open(address, timeout=WAIT_SECONDS_MAX) as page:
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.read().decode())
    assert token is not None
    password = "a long pass phrase"
    form = {
        "csrfmiddlewaretoken": token[1],
        "username": f"person-{uuid.uuid4().hex[:12]}",
        "password1": password,
        "password2": password,
    }
    request = urllib.request.Request(
        address, urllib.parse.urlencode(form).encode(), {"Referer": address}
    )
    with browser.open(request, timeout=WAIT_SECONDS_MAX) as answer:
        assert answer.geturl() == f"{platform.url}/"
    return "; ".join(f"{each.name}={each.value}" for each in jar)


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
