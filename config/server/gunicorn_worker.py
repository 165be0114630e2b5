"""The gunicorn worker of the web processes: threads, saturation with an answer, closing with care.

Gunicorn's thread worker (27.0.1) hands every connection to its threads at once and without end,
and lingers over a closed one for up to two seconds on its main thread, which stops all the others.
Here

  - a new connection waits in the selector until it has something to say, and holds no thread;
  - once more than 2 × threads requests wait for a thread, or the oldest has waited a second, the
    main thread answers 503 with Retry-After: nothing of such a request was read or stored;
  - a connection that is closed lingers in the selector, until its client has read the answer;
  - a worker that stops gives up its port at once: whoever still connected to it would hang.
"""

from __future__ import annotations

import contextlib
import errno
import selectors
import socket
import time
from collections import deque
from concurrent.futures import Future
from functools import partial
from typing import Any

from gunicorn import util
from gunicorn.workers import gthread

from config.server.http import BUSY

WAITING_PER_THREAD = 2
WAIT_SECONDS_MAX = 1.0
FIRST_BYTE_SECONDS_MAX = 10.0
LINGER_SECONDS_MAX = 2.0
TRY_AGAIN = (errno.EAGAIN, errno.ECONNABORTED, errno.EWOULDBLOCK)


def _as_bytes() -> bytes:
    headers = [
        *BUSY.headers,
        (b"content-length", b"%d" % len(BUSY.body)),
        (b"connection", b"close"),
    ]
    lines = b"".join(b"%s: %s\r\n" % header for header in headers)
    return b"HTTP/1.1 503 Service Unavailable\r\n" + lines + b"\r\n" + BUSY.body


REFUSAL = _as_bytes()


def _has_gone(client: socket.socket) -> bool:
    """Whether all that a readable connection has to say is that its client closed it."""
    try:
        return not client.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:  # what it said was read ahead
        return False
    except OSError:
        return True


class Connection(gthread.TConn):
    """A client's connection; to close it gracefully is its worker's business."""

    def __init__(self, worker: ThreadWorker, client: socket.socket, address: Any, own: Any) -> None:
        super().__init__(worker.cfg, client, address, own)
        self._worker = worker

    def close(self, graceful: bool = False) -> None:
        if graceful and self.sock.fileno() >= 0:
            self._worker.linger(self)
        else:
            util.close(self.sock)


class ThreadWorker(gthread.ThreadWorker):
    """Fixed threads behind a bounded queue. All but `handle` runs on the main thread."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._waiting: deque[tuple[float, Future[Any]]] = deque()  # since when; oldest first
        self._lingering: deque[tuple[float, Connection]] = deque()  # until when; soonest first

    # --- connections come ------------------------------------------------------------------------

    def accept(self, listener: Any) -> None:
        """Take a new connection and wait for its first bytes, without a thread."""
        try:
            client, address = listener.accept()
        except OSError as error:
            if error.errno not in TRY_AGAIN:
                raise
            return
        self.nr_conns += 1
        connection = Connection(self, client, address, listener.getsockname())
        connection.timeout = time.monotonic() + FIRST_BYTE_SECONDS_MAX
        self.pending_conns.append(connection)
        ready = partial(self.on_pending_socket_readable, connection)
        self.poller.register(client, selectors.EVENT_READ, ready)

    def enqueue_req(self, conn: Connection) -> None:
        """Let a connection that has something to say wait for a thread, or refuse it."""
        if _has_gone(conn.sock):
            self.nr_conns -= 1
            conn.close()
            return
        self._forget_begun()
        if len(self._waiting) >= WAITING_PER_THREAD * self.cfg.threads:
            self._refuse(conn)
            return
        job = self.tpool.submit(self.handle, conn)
        self._waiting.append((time.monotonic(), job))
        job.add_done_callback(lambda job: self.method_queue.defer(self.finish_request, conn, job))

    def is_parent_alive(self) -> bool:
        """A worker whose master was killed stops, and says so to the connections that it keeps."""
        if super().is_parent_alive():
            return True
        self.alive = False
        return False

    def set_accept_enabled(self, enabled: bool) -> None:
        super().set_accept_enabled(enabled)
        if not self.alive:
            for listener in self.sockets:
                listener.close()

    # --- saturation ------------------------------------------------------------------------------

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        """One turn of the loop, which ends in time for whoever waits or lingers."""
        super().wait_for_and_dispatch_events(max(0.0, min(timeout, self._seconds_to_next())))
        self._forget_begun()
        now = time.monotonic()
        while self._waiting and self._waiting[0][0] + WAIT_SECONDS_MAX <= now:
            self._waiting.popleft()[1].cancel()  # `finish_request` hears of it
        while self._lingering and self._lingering[0][0] <= now:
            self._let_go(self._lingering[0][1])

    def finish_request(self, conn: Connection, fs: Future[Any]) -> None:
        if fs.cancelled():
            self._refuse(conn)
        else:
            super().finish_request(conn, fs)

    def _forget_begun(self) -> None:
        """Threads take jobs in order, so those that were begun stand in front."""
        while self._waiting and (self._waiting[0][1].running() or self._waiting[0][1].done()):
            self._waiting.popleft()

    def _seconds_to_next(self) -> float:
        instants = [since + WAIT_SECONDS_MAX for since, _ in list(self._waiting)[:1]]
        instants += [until for until, _ in list(self._lingering)[:1]]
        return min(instants, default=float("inf")) - time.monotonic()

    def _refuse(self, conn: Connection) -> None:
        conn.sock.setblocking(False)
        with contextlib.suppress(OSError):  # gone, or has not read its earlier answers
            conn.sock.send(REFUSAL)
        self.nr_conns -= 1
        conn.close(graceful=True)

    # --- connections go --------------------------------------------------------------------------

    def linger(self, conn: Connection) -> None:
        """Say that no more will come, and drop what the client still sends until it closes.

        To close at once would reset the connection, and could take the answer with it.
        """
        try:
            conn.sock.setblocking(False)
            conn.sock.shutdown(socket.SHUT_WR)
            self.poller.register(conn.sock, selectors.EVENT_READ, lambda _: self._drop_input(conn))
        except (OSError, ValueError, KeyError):
            util.close(conn.sock)
            return
        self.nr_conns += 1  # it still is one, also for a worker that waits for the last to go
        self._lingering.append((time.monotonic() + LINGER_SECONDS_MAX, conn))

    def _drop_input(self, conn: Connection) -> None:
        try:
            ended = not conn.sock.recv(65_536)
        except BlockingIOError:
            return
        except OSError:
            ended = True
        if ended:
            self._let_go(conn)

    def _let_go(self, conn: Connection) -> None:
        self._lingering = deque(entry for entry in self._lingering if entry[1] is not conn)
        self.poller.unregister(conn.sock)
        util.close(conn.sock)
        self.nr_conns -= 1
