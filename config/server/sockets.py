"""WebSockets with limits in both directions.

Daphne queues without end: outward where a reader is slow, inward where a client floods. Here a
`send` waits until the transport has room, and a reader that makes none for `STALL_SECONDS_MAX` is
dropped; inward, reading stops while the consumer is behind. Close codes and reasons reach the
client as the consumer gave them.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import Any

from daphne.ws_protocol import WebSocketFactory, WebSocketProtocol

from config.server.frames import Frames, let_go

logger = logging.getLogger(__name__)

# The kernel would otherwise hide a stalled reader behind 4 MB.
SEND_BUFFER_BYTES = 32 * 1024
STALL_SECONDS_MAX = 5.0
INBOX_HIGH, INBOX_LOW = 32, 8
# One read from the kernel can carry this many tiny messages at most a few times over; whoever
# sends more without waiting for answers is no client.
INBOX_MAX = 20_000
CLOSE_REASON_BYTES_MAX = 123  # RFC 6455, 5.5: a control frame's payload less the code
GOING_AWAY = 1001
MESSAGE_BYTES_MAX = 64 * 1024  # a subscription to every symbol there is, in one message
PING_TIMEOUT_SECONDS = 15
# For the client's half of the closing handshake, and then for it to take what was written.
CLOSE_TIMEOUT_SECONDS = 5.0


class Inbox:
    """What a client has sent and its consumer has not read; too much of it stops the reading.

    Daphne hands over an `asyncio.Queue`, which for a socket that says nothing costs 3 KB.
    """

    __slots__ = ("_arrived", "_messages", "_protocol", "_reading")

    def __init__(self, protocol: BoundedSocket) -> None:
        self._protocol = protocol
        self._reading = True
        self._messages: list[dict[str, Any]] = []  # short, so that taking the first costs nothing
        self._arrived: asyncio.Future[None] | None = None  # while the one consumer waits

    def put_nowait(self, message: dict[str, Any]) -> None:
        if len(self._messages) >= INBOX_MAX and message["type"] == "websocket.receive":
            self._protocol.frames.abort()
            return
        self._messages.append(message)
        if self._arrived is not None and not self._arrived.done():
            self._arrived.set_result(None)
        if self._reading and len(self._messages) >= INBOX_HIGH:
            self._reading = False
            self._protocol.transport.pauseProducing()

    async def get(self) -> dict[str, Any]:
        while not self._messages:
            self._arrived = asyncio.get_running_loop().create_future()
            try:
                await self._arrived
            finally:
                self._arrived = None
        message = self._messages.pop(0)
        if not self._reading and len(self._messages) <= INBOX_LOW:
            self._reading = True
            self._protocol.transport.resumeProducing()
        return message


class Tap:
    """What Twisted turns off while more than 64 KiB wait in the transport, and on when none do."""

    __slots__ = ("_opened",)

    def __init__(self) -> None:
        self._opened: asyncio.Event | None = None  # while it is off

    def pauseProducing(self) -> None:
        if self._opened is None:
            self._opened = asyncio.Event()

    def resumeProducing(self) -> None:
        opened, self._opened = self._opened, None
        if opened is not None:
            opened.set()

    def stopProducing(self) -> None:
        self.resumeProducing()  # whoever waits finds the connection closed

    async def wait_open(self, timeout_seconds: float) -> bool:
        """False when it stayed closed."""
        if self._opened is None:
            return True
        try:
            await asyncio.wait_for(self._opened.wait(), timeout_seconds)
        except TimeoutError:
            return False
        return True


class BoundedSocket(WebSocketProtocol):
    """One WebSocket connection."""

    maxMessagePayloadSize: int  # autobahn copies it from the factory's options
    is_lost = False  # the connection
    _last_call: asyncio.TimerHandle | None = None  # for a connection that is about to end
    application_has_ended = False

    def __init__(self) -> None:
        super().__init__()
        self.frames = Frames(self)
        self._tap = Tap()

    def onOpen(self) -> None:
        self.transport.unregisterProducer()  # what the HTTP side of the connection left behind
        self.transport.registerProducer(self._tap, True)
        kernel = self.transport.getHandle()
        if kernel.family in (socket.AF_INET, socket.AF_INET6):
            kernel.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
            kernel.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        super().onOpen()

    async def make_room(self) -> None:
        """Wait until the transport takes more; drop a connection whose reader has stalled."""
        if not await self._tap.wait_open(STALL_SECONDS_MAX):
            logger.warning("dropped a reader that stalled for %.0f s", STALL_SECONDS_MAX)
            self.frames.abort()

    def sendMessage(self, payload: bytes, isBinary: bool = False, **options: Any) -> None:
        """Send a message of any size: autobahn would hold our answers to the clients' limit."""
        limit, self.maxMessagePayloadSize = self.maxMessagePayloadSize, 0
        try:
            super().sendMessage(payload, isBinary, **options)
        finally:
            self.maxMessagePayloadSize = limit

    def sendData(self, data: bytes, *options: Any) -> None:
        """All that autobahn itself writes: pings, pongs, and the frame that closes."""
        self.frames.give_way()
        super().sendData(data, *options)

    def dropConnection(self, abort: bool = False) -> None:
        """End the connection; without `abort` its reader has some time to take what is written.

        Twisted would wait for ever for one that is there and takes nothing.
        """
        self.frames.give_way()
        super().dropConnection(abort)
        if not abort and not self.is_lost and self._last_call is None:
            loop = asyncio.get_running_loop()
            self._last_call = loop.call_later(CLOSE_TIMEOUT_SECONDS, self.frames.abort)

    def handle_reply(self, message: dict[str, Any]) -> None:
        if message["type"] == "websocket.close" and self.state == self.STATE_OPEN:
            self.close(message.get("code") or 1000, message.get("reason") or "")
        else:
            super().handle_reply(message)

    def close(self, code: int, reason: str = "") -> None:
        """Begin the closing handshake, with any code and reason."""
        reason_bytes = reason.encode()[:CLOSE_REASON_BYTES_MAX].decode(errors="ignore").encode()
        self.sendCloseFrame(code=code, reasonUtf8=reason_bytes or None)

    def connectionLost(self, reason: Any) -> None:
        self.frames.give_way()
        super().connectionLost(reason)
        let_go(self.transport)
        self.is_lost = True
        if self._last_call is not None:
            self._last_call.cancel()
        self.let_go()

    def application_ended(self, application: Any) -> None:
        """Its consumer is done, whatever the connection does."""
        self.application_has_ended = True
        self.let_go()

    def let_go(self) -> None:
        """Once all is over, break the circles in which a socket's parts hold each other.

        Otherwise each closed socket is kept until the next full garbage collection, which comes
        rarely here (see `_spare_the_collector`).
        """
        if self.application_has_ended and self.is_lost:
            for name in ("frames", "_tap", "application_queue", "is_open", "is_closed"):
                setattr(self, name, None)

    def go_away(self) -> None:
        """The server stops: close 1001, or drop a handshake that is not done.

        A balancer takes a dropped one elsewhere; a refusal would go to the client.
        """
        if self.state == self.STATE_OPEN:
            self.close(GOING_AWAY, "going away")
        elif self.state == self.STATE_CONNECTING:
            self.frames.abort()


class BoundedSocketFactory(WebSocketFactory):
    """Makes the sockets of a server."""

    def __init__(self, server: Any) -> None:
        super().__init__(server, server="")
        self.setProtocolOptions(
            allowNullOrigin=True,  # what to make of an origin is the consumer's business
            openHandshakeTimeout=server.websocket_handshake_timeout,
            autoPingTimeout=PING_TIMEOUT_SECONDS,
            closeHandshakeTimeout=CLOSE_TIMEOUT_SECONDS,
            maxMessagePayloadSize=MESSAGE_BYTES_MAX,
            maxFramePayloadSize=MESSAGE_BYTES_MAX,
            failByDrop=False,  # say 1009 to a message that is too large
        )
        # autobahn would copy its forty options into every socket, and format them for its log.
        options = {name: getattr(self, name) for name in BoundedSocket.CONFIG_ATTRS}
        options["perMessageCompressionAccept"] = staticmethod(self.perMessageCompressionAccept)
        self.protocol = type("BoundedSocket", (BoundedSocket,), {**options, "CONFIG_ATTRS": ()})
