"""HTTP requests with a bound on their body.

Twisted reads a body of any size, to a temporary file if need be, before Daphne sees the request.
Here the limit holds while the body arrives: one that is announced or grows beyond it is answered
413 at once, and what the client still sends is dropped until it has read the answer.
"""

from __future__ import annotations

from typing import Any

from daphne.http_protocol import HTTPFactory, WebRequest
from twisted.internet import reactor

# How long a refused client may go on sending. Closing at once would reset the connection under
# its hands, and it would never see the answer.
LINGER_SECONDS = 2
TOO_LARGE_BODY = b'{"code":41310000,"message":"request body is too large"}'
TOO_LARGE = (
    b"HTTP/1.1 413 Content Too Large\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\nConnection: close\r\n\r\n%s" % (len(TOO_LARGE_BODY), TOO_LARGE_BODY)
)


class BoundedRequest(WebRequest):
    """Daphne's request, refused as soon as its body is too large."""

    _refused = False
    _received = 0

    def gotLength(self, length: int | None) -> None:
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

    def _refuse(self) -> None:
        self._refused = True
        self.requestHeaders.removeHeader(b"Expect")  # or Twisted would invite the body after all
        transport = self.channel.transport
        transport.write(TOO_LARGE)
        reactor.callLater(LINGER_SECONDS, transport.loseConnection)


class BoundedHttpFactory(HTTPFactory):
    """Makes the HTTP side of each connection."""

    def buildProtocol(self, addr: Any) -> Any:
        channel = super().buildProtocol(addr)
        channel.requestFactory = BoundedRequest
        return channel
