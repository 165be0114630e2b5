"""The gunicorn worker of the web processes: threads, saturation with an answer, closing with care.

Gunicorn's thread worker (27.0.1) hands every connection to its threads at once and without end,
and lingers over a closed one for up to two seconds on its main thread, which stops all the others.
Here

  - a new connection waits in the selector until it has something to say, and holds no thread;
  - what the application answers from memory (`at_once`), the main thread answers, and the
    connection stays in the selector; an answer that its client is slow to read waits there too;
  - a POST that came whole, and that the application understands as it is, needs no parser;
  - once more than 2 × threads requests wait for a thread, or the oldest has waited a second, the
    main thread answers 503 with Retry-After: nothing of such a request was begun or stored;
  - a connection that is closed lingers in the selector, until its client has read the answer;
  - a worker that stops gives up its port at once: whoever still connected to it would hang.
"""

from __future__ import annotations

import contextlib
import errno
import selectors
import socket
import time
from collections import OrderedDict, deque
from collections.abc import Iterator
from concurrent.futures import Future
from functools import partial
from typing import Any

from gunicorn import http, util
from gunicorn.workers import gthread

from config.server.at_once import AtOnce, Job
from config.server.collector import spare_the_collector
from config.server.http import BUSY, REFUSED
from config.server.plain import READ_MAX

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
        self.parser: Any
        self.job: Job | None = None  # how a thread answers what was said, which waits in `said`
        self.said = b""
        self._worker = worker

    def close(self, graceful: bool = False) -> None:
        if graceful and self.sock.fileno() >= 0:
            self._worker.linger(self)
        else:
            util.close(self.sock)

    def unread(self, said: bytes) -> None:
        """Give back what was read: the connection's parser begins with it."""
        self.data_ready = True  # nobody is to wait for the socket
        if self.parser is None:
            self.parser = http.get_parser(self.cfg, self.sock, self.client)
        self.parser.unreader.unread(said)

    def was_read_ahead(self) -> bool:
        return self.job is not None or (
            self.parser is not None and bool(self.parser.unreader.buf.getvalue())
        )


class Line:
    """Connections in the order of their deadlines. Whoever leaves the middle costs nothing.

    It stands where gunicorn has a deque, which it would search with every answer at once.
    """

    def __init__(self) -> None:
        self._connections: OrderedDict[Connection, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._connections)

    def __iter__(self) -> Iterator[Connection]:
        return iter(self._connections)

    def __getitem__(self, first: int) -> Connection:
        return next(iter(self._connections))

    def append(self, connection: Connection) -> None:
        self._connections[connection] = None

    def remove(self, connection: Connection) -> None:
        del self._connections[connection]

    def popleft(self) -> Connection:
        return self._connections.popitem(last=False)[0]


class ThreadWorker(gthread.ThreadWorker):
    """Fixed threads behind a bounded queue. All but `handle` runs on the main thread."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._at_once: AtOnce | None = None
        self._notified_at = 0.0
        self.keepalived_conns, self.pending_conns = Line(), Line()
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
        if not conn.was_read_ahead() and _has_gone(conn.sock):
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

    def notify(self) -> None:
        """Tell the master that we live: a system call, and it looks every second at most."""
        now = time.monotonic()
        if now >= self._notified_at + 1.0:
            self._notified_at = now
            super().notify()

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

    def run(self) -> None:
        """Serve; all is loaded by now."""
        spare_the_collector()
        super().run()

    # --- answers at once -------------------------------------------------------------------------

    def load_wsgi(self) -> None:
        super().load_wsgi()
        from_memory = getattr(self.wsgi, "from_memory", {})
        with_body = getattr(self.wsgi, "with_body", {})
        if (from_memory or with_body) and self._speaks_plainly():
            self._at_once = AtOnce(from_memory, with_body)

    def _speaks_plainly(self) -> bool:
        """Whether the bytes of a socket are HTTP/1 from the first, and nobody wants to log them."""
        return (
            not self.cfg.is_ssl
            and self.cfg.protocol == "http"
            and self.cfg.proxy_protocol == "off"
            and self.cfg.http_protocols == ["h1"]
            and self.cfg.keepalive > 0
            and not self.log.access_log_enabled
        )

    def on_client_socket_readable(self, conn: Connection, client: socket.socket) -> None:
        if not self._answered(conn, self.keepalived_conns):
            super().on_client_socket_readable(conn, client)

    def on_pending_socket_readable(self, conn: Connection, client: socket.socket) -> None:
        full = len(self.keepalived_conns) >= self.max_keepalived
        if full or not self._answered(conn, self.pending_conns):
            super().on_pending_socket_readable(conn, client)

    def _answered(self, conn: Connection, line: Line) -> bool:
        """Whether what was said is answered; if not, it is as if nobody had read it."""
        if self._at_once is None or not self.alive or self.nr + 1 >= self.max_requests:
            return False
        try:
            said = conn.sock.recv(READ_MAX)
        except OSError as error:
            return error.errno in TRY_AGAIN
        if not said:
            return False
        answer = self._at_once.answer(said)
        if answer is None:
            conn.job = self._at_once.job(said)
            if conn.job is None:
                conn.unread(said)
            else:
                conn.said = said
            return False
        self.nr += 1
        line.remove(conn)
        self.keepalived_conns.append(conn)
        if line is self.pending_conns:
            self._listen_again(conn)
        self._send(conn, answer)
        return True

    def handle(self, conn: Connection) -> Any:
        """On a thread: answer what was said, and say whether the connection stays."""
        job, conn.job = conn.job, None
        said, conn.said = conn.said, b""  # it names a secret, and the connection may idle for long
        answer = job() if job is not None and self.alive else None
        if answer is None:
            if job is not None:
                conn.unread(said)
            return super().handle(conn)
        self.nr += 1
        try:
            conn.init()
            conn.sock.setblocking(True)
            conn.sock.sendall(answer)
        except OSError:  # its client has gone
            return False
        return True

    def _send(self, conn: Connection, answer: bytes) -> None:
        conn.set_timeout()
        try:
            sent = conn.sock.send(answer)
        except OSError as error:
            if error.errno not in TRY_AGAIN:
                self._hang_up(conn)
                return
            sent = 0
        if sent < len(answer):
            go_on = partial(self._send_rest, conn, answer[sent:])
            self.poller.modify(conn.sock, selectors.EVENT_WRITE, go_on)

    def _send_rest(self, conn: Connection, rest: bytes, client: socket.socket) -> None:
        self.keepalived_conns.remove(conn)
        self.keepalived_conns.append(conn)
        self._listen_again(conn)
        self._send(conn, rest)

    def _listen_again(self, conn: Connection) -> None:
        ready = partial(self.on_client_socket_readable, conn)
        self.poller.modify(conn.sock, selectors.EVENT_READ, ready)

    def _hang_up(self, conn: Connection) -> None:
        self.keepalived_conns.remove(conn)
        self.poller.unregister(conn.sock)
        self.nr_conns -= 1
        conn.close()

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
        REFUSED.inc()
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
