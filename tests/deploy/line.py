"""A WebSocket client that costs little, so that one process can be thousands of them.

It speaks as much of RFC 6455 as our servers do: whole frames, pings and a close.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import orjson

OPEN_SECONDS = 10.0
TEXT, CLOSE, PING, PONG = 1, 8, 9, 10
WIDE = {126: 2, 127: 8}  # length codes → bytes of the real length

# A message of an array, and how many frames came before it.
Hear = Callable[[dict[str, Any], int], None]


class Line(asyncio.Protocol):
    """One connection. `over` has the code that the server closed it with, or None."""

    def __init__(self, hear: Hear) -> None:
        loop = asyncio.get_running_loop()
        self.over: asyncio.Future[int | None] = loop.create_future()
        self.ready: asyncio.Future[bytes] = loop.create_future()  # the answer to the handshake
        self._hear = hear
        self._buffer = bytearray()
        self._frames = 0

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def connection_lost(self, error: Exception | None) -> None:
        if not self.over.done():
            self.over.set_result(None)
        if not self.ready.done():
            self.ready.set_exception(ConnectionError("closed before it was open"))

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self.ready.done():
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            self.ready.set_result(bytes(self._buffer[:end]))
            del self._buffer[: end + 4]
        at = 0
        while (frame := _frame(self._buffer, at)) is not None:
            opcode, begin, at = frame
            self._take(opcode, bytes(self._buffer[begin:at]))
        del self._buffer[:at]

    def say(self, message: Any) -> None:
        self._send(TEXT, orjson.dumps(message))

    def _take(self, opcode: int, payload: bytes) -> None:
        if opcode == TEXT:
            for message in orjson.loads(payload):
                self._hear(message, self._frames)
            self._frames += 1
        elif opcode == PING:
            self._send(PONG, payload)
        elif opcode == CLOSE and not self.over.done():
            self.over.set_result(int.from_bytes(payload[:2]) if payload else None)
            self._send(CLOSE, payload[:2])

    def _send(self, opcode: int, payload: bytes) -> None:
        """A client's frame, with a mask of zeros."""
        length = len(payload)
        head = bytes((0x80 | opcode, 0x80 | min(length, 126)))
        wide = b"" if length < 126 else length.to_bytes(2)
        self.transport.write(head + wide + bytes(4) + payload)


def _frame(buffer: bytearray, at: int) -> tuple[int, int, int] | None:
    """Opcode, begin and end of the payload of the frame that begins here, once all is there."""
    if len(buffer) < at + 2:
        return None
    length, begin = buffer[at + 1], at + 2
    if wide := WIDE.get(length, 0):
        length, begin = int.from_bytes(buffer[begin : begin + wide]), begin + wide
    return (buffer[at] & 15, begin, begin + length) if len(buffer) >= begin + length else None


@asynccontextmanager
async def opened(url: str, hear: Hear) -> AsyncIterator[Line]:
    """A line on which the handshake is done; OSError or TimeoutError."""
    to = urlsplit(url)
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(OPEN_SECONDS):
        transport, line = await loop.create_connection(lambda: Line(hear), to.hostname, to.port)
    try:
        transport.write(
            f"GET {to.path}?{to.query} HTTP/1.1\r\nHost: {to.netloc}\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()
        )
        async with asyncio.timeout(OPEN_SECONDS):
            answer = await line.ready
        if not answer.startswith(b"HTTP/1.1 101"):
            raise ConnectionError(answer.partition(b"\r\n")[0].decode())
        yield line
    finally:
        transport.close()
