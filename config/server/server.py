"""The server: Daphne on a socket that is already bound, with a clean end.

On SIGTERM or SIGINT it says at once that it is not ready, and after the notice that a balancer
needs stops listening. It tells every WebSocket that it goes away (close 1001), one after the other
over some seconds, finishes the HTTP requests that run, and cancels what is left in the end. Daphne
alone cancels everything at once: all clients see a broken connection, and a request in flight gets
an empty answer.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from functools import partial
from typing import Any

from daphne.server import Server, twisted_loop  # before anything of Twisted: installs the reactor
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.logger import (
    FilteringLogObserver,
    LogLevel,
    LogLevelFilterPredicate,
    STDLibLogObserver,
    globalLogBeginner,
)

from config.server.collector import spare_the_collector
from config.server.frames import EXTENSION
from config.server.requests import BoundedHttpFactory
from config.server.sockets import BoundedSocket, BoundedSocketFactory, Inbox

logger = logging.getLogger(__name__)

# Thousands of clients that are sent away in one instant come back in one instant.
CLOSES_PER_SECOND = 100
CLOSING_SECONDS_MAX = 8.0  # however many they are
FINISH_SECONDS_MAX = 5.0  # for what still runs once the last was told
CANCEL_SECONDS_MAX = 1.0
PING_INTERVAL_SECONDS = 20
BODY_MAX = 64 * 1024


class OpenbellServer(Server):
    """Serves one ASGI application on one listening socket until it is told to stop."""

    def __init__(
        self,
        application: Any,
        *,
        listener: socket.socket,
        body_max: int = BODY_MAX,
        notice_seconds: float = 0,
        when_ready: Callable[[], None] = lambda: None,
        when_told: Callable[[], None] = lambda: None,
        when_draining: Callable[[], None] = lambda: None,
    ) -> None:
        """`when_told` runs on the signal, `when_draining` on the loop `notice_seconds` later."""
        super().__init__(
            application,
            endpoints=["adopted"],  # Daphne wants one named; `run` listens on `listener`
            ping_interval=PING_INTERVAL_SECONDS,
            websocket_timeout=-1,  # or all sockets of one deploy would end in the same second
            server_name="",
        )
        self.connections: dict[Any, dict[str, Any]] = {}
        self.body_max = body_max
        self.draining = False
        self._listener = listener
        self._notice_seconds = notice_seconds
        self._when_ready = when_ready
        self._when_told = when_told
        self._when_draining = when_draining

    def run(self) -> None:
        """Serve; returns once drained."""
        _log_errors_of_twisted()
        spare_the_collector()
        self.http_factory = BoundedHttpFactory(self)
        self.ws_factory = BoundedSocketFactory(self)
        self._listener.setblocking(False)
        self._port = reactor.adoptStreamPort(
            self._listener.fileno(), self._listener.family, self.http_factory
        )
        self._listener.close()  # the reactor has its own copy
        asyncio.set_event_loop(twisted_loop)
        reactor.callLater(1, self.application_checker)
        reactor.callLater(2, self.timeout_checker)
        reactor.addSystemEventTrigger(
            "before", "shutdown", lambda: Deferred.fromFuture(asyncio.ensure_future(self.drain()))
        )
        reactor.callWhenRunning(self._when_ready)
        reactor.run()

    def create_application(
        self, protocol: Any, scope: dict[str, Any]
    ) -> asyncio.Queue[dict[str, Any]] | Inbox | None:
        """Start the application for a connection, with our extension and a bounded inbox."""
        if protocol not in self.connections:
            return None
        inbox: asyncio.Queue[dict[str, Any]] | Inbox
        scope["asgi"] = {"version": "3.0"}
        if not isinstance(protocol, BoundedSocket):
            inbox = asyncio.Queue()  # HTTP: the body has its bound
        else:
            inbox = Inbox(protocol)
            scope["extensions"] = {EXTENSION: protocol.frames}
            if self.draining:  # it came on a connection that was open already
                reactor.callLater(0, protocol.go_away)
        application = asyncio.ensure_future(
            self.application(
                scope=scope, receive=inbox.get, send=partial(self.handle_reply, protocol)
            )
        )
        self.connections[protocol]["application_instance"] = application
        if isinstance(protocol, BoundedSocket):
            application.add_done_callback(protocol.application_ended)
        return inbox

    async def handle_reply(self, protocol: Any, message: dict[str, Any]) -> None:
        """An application's `send`: for a WebSocket it waits for room."""
        if message["type"] == "websocket.send":
            await protocol.make_room()
        await super().handle_reply(protocol, message)

    async def drain(self) -> None:
        """Send the clients away and wait for what runs, for a bounded time."""
        self._when_told()
        await asyncio.sleep(self._notice_seconds)
        self.draining = True
        self._port.stopListening()
        self._when_draining()  # on the sockets' loop, before the first is closed
        closing_seconds = self._close_one_after_the_other()

        deadline = twisted_loop.time() + closing_seconds + FINISH_SECONDS_MAX
        while (running := self._running()) and twisted_loop.time() < deadline:
            await asyncio.wait(running, timeout=0.1)

        for task in running:
            task.cancel()
        if running:
            logger.warning("%d connections did not end in time and were cut", len(running))
            await asyncio.wait(running, timeout=CANCEL_SECONDS_MAX)

    def _close_one_after_the_other(self) -> float:
        """Begin to send all sockets away; the seconds that it takes."""
        sockets = [each for each in self.connections if isinstance(each, BoundedSocket)]
        seconds = min(len(sockets) / CLOSES_PER_SECOND, CLOSING_SECONDS_MAX)
        for number, each in enumerate(sockets):
            reactor.callLater(seconds * number / len(sockets), each.go_away)
        return seconds

    def _running(self) -> list[asyncio.Future[None]]:
        tasks = (details.get("application_instance") for details in self.connections.values())
        return [task for task in tasks if task is not None and not task.done()]


def _log_errors_of_twisted() -> None:
    """What goes wrong inside Twisted belongs into our log; its chatter does not."""
    observer = FilteringLogObserver(
        STDLibLogObserver("config.server.twisted"),
        [LogLevelFilterPredicate(defaultLogLevel=LogLevel.error)],
    )
    globalLogBeginner.beginLoggingTo([observer], redirectStandardIO=False, discardBuffer=True)
