"""Where the streams are."""

from __future__ import annotations

import pytest

from config.asgi import websocket
from quotes.streaming.session import CONNECTED
from tests.streams import connected, threads_of_its_own


@pytest.mark.parametrize("path", ["/v2/iex", "/v2/iex/", "/v2/sip", "/v2/sip/"])
async def test_market_data_is_there_with_a_slash_and_without(path: str) -> None:
    with threads_of_its_own():
        async with connected(websocket, path=path) as client:
            assert await client.hear() == [CONNECTED]


@pytest.mark.parametrize("path", ["/", "/v2", "/v2/", "/v2/iex/more", "/streams", "/stream//"])
async def test_no_other_path_is_a_stream(path: str) -> None:
    async with connected(websocket, path=path) as client:
        await client.closed()
        assert not client.accepted
