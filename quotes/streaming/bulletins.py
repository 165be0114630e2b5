"""What honest sockets are told besides the stream: where symbols stand, and heartbeats.

Both go to every honest socket there is, so they are told in slices, and between two of them the
loop gets its turns: else ten thousand sockets would all wait for the last one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping

from quotes.streaming.audience import (
    STOOD_FOR,
    Audience,
    Changed,
    Channel,
    note_unreported,
    wants_any,
)
from quotes.streaming.codec import Codec
from quotes.streaming.fanout import Fanout
from quotes.streaming.halts import Halts
from quotes.streaming.news import News
from quotes.streaming.socket import Socket
from quotes.streaming.standings import Pulse, Standing, Standings, chunks
from quotes.streaming.turns import Turns

log = logging.getLogger(__name__)

# Some 2 ms of heartbeats, which differ from socket to socket.
SLICE_SOCKETS = 128
SLICE_SYMBOLS = 128


class Bulletins:
    """Tells the honest sockets of a hub."""

    def __init__(self, fanout: Fanout, standings: Standings, halts: Halts, news: News) -> None:
        self._fanout = fanout
        self._standings = standings
        self._halts = halts
        self._news = news

    def snapshot(self, sockets: Iterable[Socket], symbol: str, stands: Standing) -> None:
        """Say where a symbol stands; encoded once for all who are told the same."""
        halted = self._halts.has(symbol)
        amended, told = self._news.amended_to(symbol), self._news.statuses_to(symbol)
        frames: dict[tuple[Codec, int | None], bytes] = {}
        for socket in sockets:
            kind = socket.codec, socket.resync
            frame = frames.get(kind)
            if frame is None:
                frame = frames[kind] = socket.codec.snapshot(
                    symbol,
                    *stands,
                    amendments=amended,
                    statuses=told,
                    halted=halted,
                    resync=socket.resync,
                )
            self._fanout.say(socket, frame, newest_of=f"snapshot of {symbol}")

    async def tell(
        self, socket: Socket, symbols: Iterable[str], stored: Mapping[str, Standing], turns: Turns
    ) -> None:
        """Say to one socket where symbols stand, each by what is known when its turn comes."""
        for some in chunks(sorted(symbols), SLICE_SYMBOLS):
            for symbol, stands in self._standings.standing(some, stored).items():
                self.snapshot([socket], symbol, stands)
            await turns.give()

    async def tell_all(
        self,
        audiences: Mapping[Channel, Audience],
        symbol: str,
        stored: Mapping[str, Standing],
        turns: Turns,
    ) -> None:
        """Say to all who are told of a symbol where it stands, as `tell` does."""
        sockets = set[Socket]().union(*(audiences[each].honest(symbol) for each in STOOD_FOR))
        for some in chunks(tuple(sockets), SLICE_SOCKETS):
            here = [socket for socket in some if wants_any(socket, STOOD_FOR, symbol)]
            for _, stands in self._standings.standing([symbol], stored).items():
                self.snapshot(here, symbol, stands)
            await turns.give()

    async def beat(
        self,
        sockets: Iterable[Socket],
        changed: Changed,
        pulse: Callable[[], Pulse],
        turns: Turns,
    ) -> None:
        """Tell each socket how many messages it was sent and what is new since the last time.

        A socket that holds gets no heartbeat until it has caught up: it does not yet have what the
        heartbeat would say it has. What changed meanwhile is in its next one.
        """
        honest = [each for each in sockets if each.codec.honest and each.credential is not None]
        for some in chunks(honest, SLICE_SOCKETS):
            now = pulse()
            for socket in some:
                note_unreported(socket, changed)
                if not socket.holding:
                    self._beat_one(socket, now)
            await turns.give()

    def _beat_one(self, socket: Socket, pulse: Pulse) -> None:
        """One socket whose heartbeat cannot be made keeps what is new for its next one."""
        try:
            frame = socket.notices.heartbeat(socket, pulse)
        except Exception:
            log.exception("a heartbeat could not be made")
            return
        socket.unreported.clear()
        self._fanout.say(socket, frame)


def heartbeat(socket: Socket, pulse: Pulse) -> bytes:
    """That the stream lives, and by what a client can tell that it has everything.

    `sent` counts all messages on this socket before this one. `quotes`, `trades` and, where there
    is something, `bars`, `updatedBars`, `dailyBars`, `statuses` and `amendments` (of trades) have
    the (epoch, number) of the newest message of each wanted symbol that got one since the last
    heartbeat, be it from before the symbol was subscribed to, and what got lost on its way to this
    server has a number, too. While `current` is false this server itself may have missed something,
    be it ticks, bars or statuses: when it has found out, it sends snapshots, the statuses that it
    missed, and for bars a number that did not arrive.

    A client has everything if heartbeats arrive at least every two seconds, each is current, counts
    as many messages as arrived, and names nothing newer than what arrived, and if the numbers of a
    symbol's trades and of their amendments came without a gap. Of all that says a last price, the
    one of the highest rank does (`Codec.snapshot`). Else it says `{"action": "resync", "id": n}`
    and trusts a symbol again by a heartbeat that agrees after a snapshot with this id.
    """
    at_us, quiet_ms, current = pulse
    news = {channel.value: places for channel, places in socket.unreported.items()}
    return socket.codec.control(
        {
            "T": "heartbeat",
            "t": None if at_us is None else socket.codec.stamp(at_us),
            "quiet_ms": quiet_ms,
            "current": current,
            "sent": socket.sent,
            **{"quotes": {}, "trades": {}, **news},
        }
    )
