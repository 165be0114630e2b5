"""An upstream with a script: says ticks on a real socket, in the protocol of an honest Openbell."""

from __future__ import annotations

import http
import json
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import msgpack
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.sync.server import Server, ServerConnection, serve

from quotes.feeds.base import Tick
from quotes.streaming.codec import MSGPACK_HONEST, Codec, unframed
from quotes.ticks import Quote

CONTROL = {"connected", "authenticated"}


def frames_of(ticks: Iterable[Tick], codec: Codec = MSGPACK_HONEST) -> list[bytes]:
    """What each tick is on the wire."""
    framed = (codec.quote(tick) if isinstance(tick, Quote) else codec.trade(tick) for tick in ticks)
    return [payload for frame in framed for _, payload in unframed(frame)]


class ScriptedUpstream:
    """Whoever subscribes hears `script(attempt)`: frames to send, then silence.

    A script that ends with None closes the connection. `market` is what /api/market answers.
    """

    def __init__(self, script: Callable[[int], Iterable[bytes | None]]) -> None:
        self.script = script
        self.market = {"mode": "simulated", "source": "simulated-7"}
        self.attempts = 0
        self.heard: list[Any] = []
        self._over = threading.Event()
        self.server: Server = serve(
            self._play, "127.0.0.1", 0, process_request=self._answer, compression=None
        )
        self.port = self.server.socket.getsockname()[1]

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/v2/iex"

    def _answer(self, connection: ServerConnection, request: Request) -> Response | None:
        if request.path != "/api/market":
            return None
        body = json.dumps(self.market).encode()
        return Response(http.HTTPStatus.OK, "OK", Headers({"Content-Length": str(len(body))}), body)

    def _play(self, socket: ServerConnection) -> None:
        self.attempts += 1
        said = [{"T": "success", "msg": "connected"}], [{"T": "success", "msg": "authenticated"}]
        try:
            socket.send(msgpack.packb(said[0]))
            self.heard.append(msgpack.unpackb(socket.recv()))
            socket.send(msgpack.packb(said[1]))
            self.heard.append(msgpack.unpackb(socket.recv()))
            socket.send(msgpack.packb([{"T": "subscription"}]))
            for frame in self.script(self.attempts):
                if frame is None:
                    return
                socket.send(frame)
            self._over.wait()
        except ConnectionClosed:
            return

    def stop(self) -> None:
        self._over.set()
        self.server.shutdown()


@contextmanager
def upstream(script: Callable[[int], Iterable[bytes | None]]) -> Iterator[ScriptedUpstream]:
    """A server for as long as it is needed."""
    playing = ScriptedUpstream(script)
    thread = threading.Thread(target=playing.server.serve_forever)
    thread.start()
    try:
        yield playing
    finally:
        playing.stop()
        thread.join()
