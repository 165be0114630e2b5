"""Stock Channels on Daphne: a consumer in one group per symbol, and `group_send` through Redis.

    python channels_stream.py            # serves on PORT; the path asks for symbols: /?s=AAPL,IBM

`publish` is what sends to the groups, in another process.
"""

import json
import os
from typing import Any

from django.conf import settings

settings.configure(
    SECRET_KEY="only-for-this-benchmark",
    ALLOWED_HOSTS=["*"],
    INSTALLED_APPS=["channels"],
    LOGGING_CONFIG=None,
    CHANNEL_LAYERS={
        "default": {
            "BACKEND": "channels_redis.core.RedisChannelLayer",
            # With redis-py 8 a consumer that hears nothing for 5 s would end.
            "CONFIG": {"hosts": [{"address": os.environ["REDIS_URL"], "socket_timeout": None}]},
        }
    },
)

import django  # noqa: E402

django.setup()

from channels.generic.websocket import AsyncWebsocketConsumer  # noqa: E402
from channels.layers import get_channel_layer  # noqa: E402


class Consumer(AsyncWebsocketConsumer):
    """As Channels' tutorial has it."""

    async def connect(self) -> None:
        self.symbols = self.scope["query_string"].decode().partition("s=")[2].split(",")
        for symbol in self.symbols:
            await self.channel_layer.group_add(symbol, self.channel_name)
        await self.accept()

    async def disconnect(self, code: int) -> None:
        for symbol in self.symbols:
            await self.channel_layer.group_discard(symbol, self.channel_name)

    async def tick(self, event: dict[str, Any]) -> None:
        await self.send(text_data=json.dumps(event["data"]))


async def publish(symbol: str, message: Any) -> None:
    await get_channel_layer().group_send(symbol, {"type": "tick", "data": message})


def main() -> None:
    from daphne.endpoints import build_endpoint_description_strings
    from daphne.server import Server

    endpoints = build_endpoint_description_strings(host="127.0.0.1", port=int(os.environ["PORT"]))
    Server(Consumer.as_asgi(), endpoints=endpoints, websocket_handshake_timeout=60).run()


if __name__ == "__main__":
    main()
