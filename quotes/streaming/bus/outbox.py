"""What a process has published and not sent yet: bounded in bytes, the oldest goes first."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable

from prometheus_client import Counter

BYTES_MAX = 32 * 1024 * 1024  # some seconds of the busiest market
MESSAGES_PER_TRIP = 200

DROPPED = Counter(
    "openbell_bus_messages_unsent_total", "Messages dropped because Redis was away too long."
)

Message = tuple[str, bytes]


class Outbox:
    """Any thread puts messages in, the carrying loop takes them out."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._messages: deque[Message] = deque()
        self._bytes = 0
        self._awake = False  # the carrier has been called and will look
        self._filled = asyncio.Event()
        self._carry: Callable[[], None] | None = None

    def put(self, channel: str, packed: bytes) -> bool:
        """Add a message, never waiting; whether the carrier has to be woken."""
        with self._lock:
            self._messages.append((channel, packed))
            self._bytes += len(packed)
            self._trim()
            wake, self._awake = not self._awake, True
        return wake

    def wake(self) -> None:
        """On the carrier's loop: there are messages."""
        self._filled.set()
        if self._carry is not None:
            self._carry()

    def carried_by(self, carry: Callable[[], None] | None) -> None:
        """What `wake` calls from now on; without anybody, messages wait."""
        self._carry = carry

    async def filled(self) -> None:
        """Return once there are messages."""
        while not self._messages:
            self._filled.clear()
            with self._lock:
                self._awake = bool(self._messages)
            if not self._awake:
                await self._filled.wait()

    def take(self) -> list[Message]:
        """The messages of the next trip; after none, the carrier has to be woken again."""
        with self._lock:
            count = min(len(self._messages), MESSAGES_PER_TRIP)
            taken = [self._messages.popleft() for _ in range(count)]
            self._bytes -= sum(len(packed) for _, packed in taken)
            self._awake = bool(taken)
        return taken

    def put_back(self, messages: list[Message]) -> None:
        """Send these first, when it goes on."""
        with self._lock:
            self._messages.extendleft(reversed(messages))
            self._bytes += sum(len(packed) for _, packed in messages)
            self._trim()

    def _trim(self) -> None:
        while self._bytes > BYTES_MAX and self._messages:
            _, packed = self._messages.popleft()
            self._bytes -= len(packed)
            DROPPED.inc()
