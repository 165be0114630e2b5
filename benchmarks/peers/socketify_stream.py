"""uWebSockets, the C++ server, through the package socketify: its own publish and subscribe.

The path asks for symbols, /?s=AAPL,IBM; Redis brings their messages on t:<symbol>.
"""

import asyncio
import os
from typing import Any, cast
from urllib.parse import urlsplit

import hiredis
from socketify import App, AppListenOptions, CompressOptions, OpCode

REDIS = urlsplit(os.environ["REDIS_URL"])
SUBSCRIBE = b"*2\r\n$10\r\nPSUBSCRIBE\r\n$3\r\nt:*\r\n"

app = App()


class FromRedis(asyncio.Protocol):
    """Publishes what one read of Redis's socket brought."""

    def __init__(self) -> None:
        self.reader = hiredis.Reader()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast(asyncio.Transport, transport).write(SUBSCRIBE)

    def data_received(self, data: bytes) -> None:
        self.reader.feed(data)
        while (reply := self.reader.gets()) is not False:
            if reply[0] == b"pmessage":
                app.publish(reply[2][2:].decode(), reply[3].decode(), OpCode.TEXT)


def upgrade(response: Any, request: Any, context: Any) -> None:
    key, protocol, extensions = (
        request.get_header(f"sec-websocket-{name}") for name in ("key", "protocol", "extensions")
    )
    response.upgrade(key, protocol, extensions, context, request.get_query("s"))


def opened(socket: Any) -> None:
    for symbol in socket.get_user_data().split(","):
        socket.subscribe(symbol)


async def listen_to_redis() -> None:
    await app.loop.loop.create_connection(FromRedis, REDIS.hostname, REDIS.port)


app.ws(
    "/",
    {
        "compression": CompressOptions.DISABLED,
        "idle_timeout": 960,
        "max_backpressure": 64 * 1024 * 1024,
        "upgrade": upgrade,
        "open": opened,
        "message": lambda socket, message, opcode: None,
    },
)
app.on_start(listen_to_redis)
app.listen(AppListenOptions(port=int(os.environ["PORT"]), host="127.0.0.1"), lambda config: None)
app.run()
