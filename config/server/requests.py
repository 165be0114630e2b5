"""HTTP requests with a bound on their body, and on the time that their head may take.

Twisted reads a body of any size, to a temporary file if need be, before Daphne sees the request.
Here the limit holds while the body arrives: one that is announced or grows beyond it is answered
413 at once, and what the client still sends is dropped until it has read the answer.

A WebSocket begins as such a request. Twisted counts its patience anew from each byte, so a client
that sends one a minute would hold its connection for ever; here a head has `HEAD_SECONDS_MAX`.
"""

from __future__ import annotations

from typing import Any

from daphne.http_protocol import HTTPFactory, WebRequest
from twisted.internet import reactor

# How long a refused client may go on sending. Closing at once would reset the connection under
# its hands, and it would never see the answer.
LINGER_SECONDS = 2
HEAD_SECONDS_MAX = 10.0  # from the connection on, or from the first line of a further request
TOO_LARGE_BODY = b'{"code":41310000,"message":"request body is too large"}'
TOO_LARGE = (
    b"HTTP/1.1 413 Content Too Large\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\nConnection: close\r\n\r\n%s" % (len(TOO_LARGE_BODY), TOO_LARGE_BODY)
)


class BoundedRequest(WebRequest):
    """Daphne's request, refused as soon as its body is too large."""

    _refused = False
    _received = 0

    def __init__(self, channel: Any, *queued: Any) -> None:
        super().__init__(channel, *queued)
        first = channel.deadline
        self._deadline = first if first.active() else _deadline(channel)

    def gotLength(self, length: int | None) -> None:
        if self._deadline.active():
            self._deadline.cancel()
        super().gotLength(length)
        if length is not None and length > self.server.body_max:
            self._refuse()

    def handleContentChunk(self, data: bytes) -> None:
        self._received += len(data)
        if self._refused:
            return
        if self._received > self.server.body_max:
            self._refuse()
        else:
            super().handleContentChunk(data)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        if self._refused:
            self.channel.transport.loseConnection()  # it is all here, nothing left to reset
        else:
            super().requestReceived(command, path, version)

    def process(self) -> Any:
        doing = super().process()
        if self.transport is None:  # it has become a WebSocket
            reactor.callLater(0, self.channel.requests.clear)  # or they hold each other
        return doing

    def _refuse(self) -> None:
        self._refused = True
        self.requestHeaders.removeHeader(b"Expect")  # or Twisted would invite the body after all
        transport = self.channel.transport
        transport.write(TOO_LARGE)
        reactor.callLater(LINGER_SECONDS, transport.loseConnection)


class BoundedHttpFactory(HTTPFactory):
    """Makes the HTTP side of each connection."""

    def buildProtocol(self, addr: Any) -> Any:
        proxy = super().buildProtocol(addr)
        proxy.requestFactory = BoundedRequest
        channel = proxy._channel  # what requests are told of
        channel.deadline = _deadline(channel)
        return proxy


def _deadline(channel: Any) -> Any:
    return reactor.callLater(HEAD_SECONDS_MAX, _drop, channel)


def _drop(channel: Any) -> None:
    if channel.transport is not None:
        channel.transport.abortConnection()
