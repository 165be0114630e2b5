"""Who wants what: channel → symbol → codec → sockets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum

from quotes.streaming.codec import Codec
from quotes.streaming.line import Line
from quotes.streaming.socket import Socket

EVERYTHING = "*"
ALL, NONE = frozenset({EVERYTHING}), frozenset[str]()  # shared: each would cost 200 bytes a socket


class Channel(StrEnum):
    """What can be subscribed to, in the order and the names of the wire."""

    TRADES = "trades"
    QUOTES = "quotes"
    BARS = "bars"
    UPDATED_BARS = "updatedBars"
    DAILY_BARS = "dailyBars"
    STATUSES = "statuses"
    LULDS = "lulds"


class Following(StrEnum):
    """What comes with a channel and cannot be asked for: corrections and cancellations."""

    AMENDMENTS = "amendments"


# What a snapshot tells of.
STOOD_FOR = (Channel.QUOTES, Channel.TRADES, Channel.STATUSES)

Wants = Mapping[Channel, Iterable[str]]
# Channel, or what follows one → symbol → (epoch, number) of its newest message.
Changed = dict[Channel | Following, dict[str, tuple[int, int]]]


class Group:
    """The sockets of one codec that want one symbol."""

    __slots__ = ("_lines", "sockets")

    def __init__(self) -> None:
        self.sockets: dict[Socket, None] = {}
        self._lines: tuple[Line, ...] | None = None  # until somebody comes or goes

    def add(self, socket: Socket) -> None:
        self.sockets[socket] = self._lines = None

    def discard(self, socket: Socket) -> None:
        self.sockets.pop(socket, None)
        self._lines = None

    @property
    def lines(self) -> tuple[Line, ...]:
        """In the order in which they came: about that in which they lie in memory."""
        if self._lines is None:
            self._lines = tuple([socket.line for socket in self.sockets])
        return self._lines


class Audience:
    """The sockets of one channel. The hub reads `of` in its inner loop."""

    __slots__ = ("of",)

    def __init__(self) -> None:
        self.of: dict[str, dict[Codec, Group]] = {}

    def add(self, socket: Socket, symbols: Iterable[str]) -> list[str]:
        """Add the socket; the symbols that nobody wanted before."""
        new = []
        for symbol in symbols:
            groups = self.of.get(symbol)
            if groups is None:
                groups = self.of[symbol] = {}
                new.append(symbol)
            group = groups.get(socket.codec)
            if group is None:
                group = groups[socket.codec] = Group()
            group.add(socket)
        return new

    def remove(self, socket: Socket, symbols: Iterable[str]) -> list[str]:
        """Remove the socket; the symbols that nobody wants any more."""
        gone = []
        for symbol in symbols:
            groups = self.of[symbol]
            groups[socket.codec].discard(socket)
            if not groups[socket.codec].sockets:
                del groups[socket.codec]
            if not groups:
                del self.of[symbol]
                gone.append(symbol)
        return gone

    def honest(self, symbol: str) -> set[Socket]:
        """The honest sockets that want the symbol, by name or with everything."""
        found = set[Socket]()
        for name in (symbol, EVERYTHING):
            for codec, group in self.of.get(name, {}).items():
                if codec.honest:
                    found |= group.sockets.keys()
        return found


def reduced(symbols: Iterable[str]) -> frozenset[str]:
    """What a list of symbols comes to: with "*" in it no name counts, so nothing is sent twice."""
    wanted = frozenset(symbols)
    if EVERYTHING in wanted:
        return ALL
    return wanted or NONE


def wants_any(socket: Socket, channels: Iterable[Channel], symbol: str) -> bool:
    """Whether the socket wants the symbol in one of the channels, by name or with everything."""
    names = {symbol, EVERYTHING}
    return not all(names.isdisjoint(socket.wants.get(each, NONE)) for each in channels)


def newly_wanted(socket: Socket, wants: Wants) -> set[str]:
    """The symbols that the socket did not want before and is to be told the standing of."""
    new: set[str] = set()
    for channel in STOOD_FOR:
        new |= reduced(wants.get(channel, ())) - socket.wants.get(channel, frozenset())
    return new


def told_of(socket: Socket) -> set[str]:
    """The symbols that the socket wants and is to be told the standing of."""
    return set[str]().union(*(socket.wants.get(each, NONE) for each in STOOD_FOR))


def note_unreported(socket: Socket, changed: Changed) -> None:
    """Keep what is new and wanted for the socket's next heartbeat."""
    for channel, places in changed.items():
        by = Channel.TRADES if channel is Following.AMENDMENTS else channel
        wanted = socket.wants.get(by, frozenset())
        if EVERYTHING not in wanted:
            places = {symbol: places[symbol] for symbol in wanted & places.keys()}
        if places:
            socket.unreported.setdefault(channel, {}).update(places)
