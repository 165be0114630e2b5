"""A client that places orders over a few connections which it keeps, at little cost of its own.

It costs about a tenth of what it measures, and knows nothing of Django. Without a pace every
connection asks again as soon as it is answered; with one, orders leave at even distances, and one
that finds all connections taken leaves late: what was reached is for the caller to print.
"""

from __future__ import annotations

import json
import re
import selectors
import socket
import time
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

CONNECTIONS = 16
ANSWER_SECONDS = 10.0
READ_MAX = 65_536
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)


class Answer(NamedTuple):
    """What became of one order; instants are of the monotonic clock."""

    sent: float
    answered: float
    status: int
    order_id: str  # "" where none was accepted

    @property
    def seconds(self) -> float:
        return self.answered - self.sent


class Link:
    """One connection, and what it is in the middle of."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=ANSWER_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sent = 0.0
        self._heard = b""

    def send(self, request: bytes) -> None:
        self.sent, self._heard = time.monotonic(), b""
        self.socket.sendall(request)

    def read(self) -> Answer | None:
        """The answer, once it is here whole. Raises SystemExit where the server hangs up."""
        more = self.socket.recv(READ_MAX)
        if not more:
            raise SystemExit("the server closed a connection in the middle of an answer")
        self._heard += more
        head, _, body = self._heard.partition(b"\r\n\r\n")
        length = LENGTH.search(head + b"\r\n")
        if length is None or len(body) < int(length[1]):
            return None
        status = int(head[9:12])
        order_id = json.loads(body)["id"] if status == 200 else ""
        return Answer(self.sent, time.monotonic(), status, order_id)


def order_request(keys: dict[str, str], order: dict[str, str]) -> bytes:
    """The bytes of a POST of this order with these headers."""
    body = json.dumps(order).encode()
    headers = {
        "Host": "127.0.0.1",
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        **keys,
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"POST /v2/orders HTTP/1.1\r\n{lines}\r\n".encode() + body


def place(
    port: int,
    requests: Iterator[bytes],
    seconds: float,
    *,
    per_second: float = 0.0,
    connections: int = CONNECTIONS,
) -> list[Answer]:
    """Place orders for so long; every one is answered when this returns.

    Ends earlier where there are no more requests. Raises SystemExit where an answer takes longer
    than ten seconds.
    """
    with selectors.DefaultSelector() as selector:
        idle = deque(Link(port) for _ in range(connections))
        links = list(idle)
        for link in links:
            selector.register(link.socket, selectors.EVENT_READ, link)
        try:
            return _place(selector, idle, requests, seconds, per_second)
        finally:
            for link in links:
                link.socket.close()


def _place(
    selector: selectors.BaseSelector,
    idle: deque[Link],
    requests: Iterator[bytes],
    seconds: float,
    per_second: float,
) -> list[Answer]:
    begun = time.monotonic()
    sent, all_links, answers = 0, len(idle), list[Answer]()
    over = False
    while True:
        now = time.monotonic()
        over = over or now >= begun + seconds
        due = begun + sent / per_second if per_second else now
        while idle and not over and due <= now:
            request = next(requests, None)
            if request is None:
                over = True
                break
            idle.popleft().send(request)
            sent += 1
            due = begun + sent / per_second if per_second else now
        if over and len(idle) == all_links:
            return answers
        waits = ANSWER_SECONDS if over or not idle else max(0.0, due - now)
        heard = selector.select(waits)
        if not heard and waits == ANSWER_SECONDS:
            raise SystemExit(f"no answer within {ANSWER_SECONDS:.0f} s")
        for key, _ in heard:
            answer = key.data.read()
            if answer is not None:
                answers.append(answer)
                idle.append(key.data)
