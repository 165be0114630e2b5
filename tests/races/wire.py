"""A wire between Openbell and its database that breaks at a chosen statement, once."""

from __future__ import annotations

import contextlib
import socket
import threading
from enum import Enum
from typing import NamedTuple

QUERY = 3  # COM_QUERY
HEADER_BYTES = 4  # three of length, one of sequence


class Break(Enum):
    """What happens when the statement comes."""

    ANSWER_LOST = "the server does it, and its answer is lost"
    HUNG_UP = "the server gets it with the end of the connection, before it could answer"
    NOT_SENT = "it never arrives; the connection ends"
    NOT_SENT_IN_SILENCE = "it never arrives, and the server goes on waiting for it"


class Order(NamedTuple):
    """What the wire has been told to do."""

    statement: bytes  # how it begins
    how: Break
    shut: bool  # whether nobody is let through from then on


class Wire:
    """Forwards connections to a server; `break_at` says when one of them is to break."""

    def __init__(self, host: str, port: int) -> None:
        self._server = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._order: Order | None = None
        self._shut = False
        self._lines: list[Line] = []
        self.broken = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def break_at(self, statement: str, how: Break, *, shut: bool = False) -> None:
        self.broken.clear()
        self._order = Order(statement.encode(), how, shut)

    def mend(self) -> None:
        self._shut, self._order = False, None

    def close(self) -> None:
        _hang_up(self._listener)
        for line in self._lines:
            _hang_up(line.client, line.server)

    def order_for(self, packet: bytes) -> Order | None:
        """The order that this packet of a client sets off, if it does: no other one will."""
        order = self._order
        if order is None or packet[HEADER_BYTES] != QUERY:
            return None
        if not packet[HEADER_BYTES + 1 :].startswith(order.statement):
            return None
        self._order, self._shut = None, order.shut
        return order

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self._shut:
                client.close()
                continue
            self._lines.append(Line(self, client, socket.create_connection(self._server)))


class Line:
    """One connection through the wire."""

    def __init__(self, wire: Wire, client: socket.socket, server: socket.socket) -> None:
        self.client, self.server = client, server
        self._wire = wire
        self._answer_is_lost = False
        for work in (self._ask, self._answer):
            threading.Thread(target=work, daemon=True).start()

    def _ask(self) -> None:
        with contextlib.suppress(OSError, EOFError):
            while True:
                packet = _packet(self.client)
                order = self._wire.order_for(packet)
                if order is not None:
                    self._break(order.how, packet)
                    return
                self.server.sendall(packet)
        _hang_up(self.client, self.server)

    def _break(self, how: Break, packet: bytes) -> None:
        self._answer_is_lost = True
        if how in (Break.ANSWER_LOST, Break.HUNG_UP):
            self.server.sendall(packet)
        if how in (Break.HUNG_UP, Break.NOT_SENT):
            _hang_up(self.server)
        if how is not Break.ANSWER_LOST:
            _hang_up(self.client)
            self._wire.broken.set()

    def _answer(self) -> None:
        with contextlib.suppress(OSError):
            while said := self.server.recv(65_536):
                if self._answer_is_lost:
                    break
                self.client.sendall(said)
        _hang_up(self.client, self.server)
        self._wire.broken.set()


def _packet(client: socket.socket) -> bytes:
    head = _exactly(client, HEADER_BYTES)
    return head + _exactly(client, int.from_bytes(head[:3], "little"))


def _exactly(client: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        part = client.recv(count - len(data))
        if not part:
            raise EOFError
        data += part
    return data


def _hang_up(*sockets: socket.socket) -> None:
    for each in sockets:
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
        each.close()
