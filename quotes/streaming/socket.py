"""One socket as the hub sees it: frames go out, and a reader that is slow stays bounded.

A socket that reads well gets the frames of a batch in one write. When too much of what was written
has not left yet, the socket is *holding*: frames wait here instead, a newer quote takes the place
of the waiting one of its symbol, and everything else queues up to a limit. Only frames that were
not handed to the server are ever replaced, so a begun frame is always finished.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from typing import Any, NamedTuple

from prometheus_client import Counter

from quotes.streaming.codec import Codec
from quotes.streaming.frames import Frames
from quotes.streaming.line import Line, new_line

# Written but unsent bytes at which a socket starts to hold: what Twisted, too, calls too much.
HIGH_WATER_BYTES = 64 * 1024
# And at which it is given more: low enough to have caught up, high enough never to run dry.
LOW_WATER_BYTES = 16 * 1024
# Trades, bars and answers that may wait for a slow reader: about 7,000 trades.
HELD_BYTES_MAX = 1024 * 1024
# A reader that takes nothing at all for so long is gone; an honest client notices sooner.
STALLED_SECONDS_MAX = 30.0

SLOW_CLIENT_CLOSE = 4407  # daphne closes with 1000 or 3000-4999 only; 4xxx is the error's code

SLOW_CLIENTS = Counter("openbell_stream_slow_clients_total", "Sockets dropped for not reading.")
QUOTES_CONFLATED = Counter(
    "openbell_stream_quotes_conflated_total", "Quotes replaced by a newer one before they left."
)


class Notices(NamedTuple):
    """What the hub says of its own accord, in the words of a socket's protocol."""

    slow_client: bytes
    revoked: bytes
    shutdown: bytes  # for honest sockets, and so is the heartbeat
    heartbeat: Callable[[Socket, Any], bytes]


class Socket:
    """Frames for one client, in order.

    The hub's inner loops use the socket's `line` themselves, because a call per message costs more
    than the message.
    """

    __slots__ = (
        "_close",
        "_frames",
        "_held",
        "_held_bytes",
        "_least_backlog",
        "_moved_at",
        "_now",
        "_unkeyed",
        "closed",
        "codec",
        "credential",
        "line",
        "notices",
        "resync",
        "unreported",
        "wants",
    )

    def __init__(
        self,
        frames: Frames,
        codec: Codec,
        notices: Notices,
        *,
        close: Callable[[int], None],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._frames = frames
        self._close = close
        self._now = now
        self.codec = codec
        self.notices = notices
        self.credential: Any = None
        self.line = new_line(self, frames)
        self.closed = False
        self.resync: int | None = None  # the id of the client's newest request to be told anew
        self.wants: dict[Any, frozenset[str]] = {}  # channel → symbols, kept by the hub
        # Channel → symbol → (epoch, number) of what is new, for its heartbeat; kept by the hub.
        self.unreported: dict[Any, dict[str, tuple[int, int]]] = {}
        self._held: dict[Hashable, bytes] = {}
        self._held_bytes = 0  # of what is not conflated
        self._unkeyed = 0
        self._least_backlog = 0
        self._moved_at = 0.0

    @property
    def holding(self) -> bool:
        return self.line.holding

    @property
    def sent(self) -> int:
        """How many messages this client was sent, if it is an honest one."""
        return self.line.sent

    def say(self, *frames: bytes, newest_of: str | None = None) -> None:
        """Send frames after everything before them, in one piece."""
        if self.closed:
            return
        if self.holding:
            for frame in frames:
                self.hold(frame, newest_of)
            return
        self.line.parts += frames
        self.flush()

    def flush(self) -> None:
        """Write what the batch brought, in one piece."""
        line = self.line
        if line.parts:
            line.sent += len(line.parts)
            frames = b"".join(line.parts)  # of one it makes no copy
            line.parts.clear()
            self.note_backlog(line.frames.write(frames))

    def note_backlog(self, backlog: int) -> None:
        """Hold from now on if so many bytes, written and not gone, are too many."""
        if backlog > HIGH_WATER_BYTES:
            self.line.holding = True
            self._least_backlog, self._moved_at = backlog, self._now()

    def hold(self, frame: bytes, quote_of: str | None = None) -> None:
        """Keep a frame for a slow reader; when that is too much, the socket closes."""
        if self.closed:
            return
        if quote_of is not None:
            if self._held.pop(quote_of, None) is not None:
                QUOTES_CONFLATED.inc()
            self._held[quote_of] = frame
            return
        self._unkeyed += 1
        self._held[self._unkeyed] = frame
        self._held_bytes += len(frame)
        if self._held_bytes > HELD_BYTES_MAX:
            self.drop()

    def release(self) -> bool:
        """Give a slow reader more if it took what it had; whether it has caught up."""
        if self.closed:
            return True
        now, backlog = self._now(), self._frames.backlog()
        if backlog < self._least_backlog:
            self._least_backlog, self._moved_at = backlog, now
        if backlog > LOW_WATER_BYTES:
            if now - self._moved_at > STALLED_SECONDS_MAX:
                self.drop()
            return self.closed
        self._write_held(HIGH_WATER_BYTES - backlog)
        self._least_backlog, self._moved_at = self._frames.backlog(), now
        self.line.holding = bool(self._held)
        return not self.holding

    def drop(self) -> None:
        """Tell the client that it is too slow, and close."""
        if self.closed:
            return
        SLOW_CLIENTS.inc()
        self._frames.write(self.notices.slow_client)
        self.close(SLOW_CLIENT_CLOSE)

    def close(self, code: int) -> None:
        """Say nothing more, and close once what was written has left."""
        if self.closed:
            return
        self.closed = self.line.holding = True  # whatever is still offered ends in `hold`
        self.line.parts.clear()
        self._held.clear()
        self._close(code)

    def forget(self) -> None:
        """The connection is gone: keep nothing for it, and nobody who closes it."""
        self.line = Line()  # the old one knows us, and we would keep each other
        self._frames.lend(self.line)
        self.closed = self.line.holding = True
        self._held.clear()
        self._close = _nothing

    def _write_held(self, room: int) -> None:
        taken = []
        for key, frame in self._held.items():
            taken.append((key, frame))
            room -= len(frame)
            if room <= 0:
                break
        for key, frame in taken:
            del self._held[key]
            if not isinstance(key, str):
                self._held_bytes -= len(frame)
        if taken:
            self.line.sent += len(taken)
            self._frames.write(b"".join(frame for _, frame in taken))


def _nothing(code: int) -> None:
    """Close nothing: it is closed."""
