"""How ticks and answers look on the wire: Alpaca's messages, in JSON or msgpack, framed once.

The `*_item` functions give the shapes that REST and streams share; a `Codec` turns them into the
bytes of one WebSocket frame. A server's frame is not masked, so the same bytes serve every socket
that speaks the codec. The honest codecs add `seq` and `epoch` to each data message.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple

import msgpack
import orjson

from quotes.amounts import PRICE_UNIT
from quotes.ticks import MICROSECONDS, Amendment, Bar, Quote, Trade

Message = dict[str, Any]
Stamp = Callable[[int], Any]  # microseconds since the epoch → the codec's timestamp

TEXT, BINARY = 0x81, 0x82  # a whole message in one frame
_CONTINUES_AT = {126: 2, 127: 8}  # length codes of RFC 6455 → bytes of the real length

_REGULAR = ["R"]  # the SIPs' condition of an ordinary quote
# Which tape a symbol is listed on is not known where ticks are; clients show it, if at all.
_NO_TAPE = ""
# JavaScript holds integers up to 2**53: 2**21 feed epochs of 2**32 trades.
_TRADE_ID_SHIFT = 32


class Status(NamedTuple):
    """A change of an instrument's trading status."""

    symbol: str
    at_us: int
    halted: bool
    reason: str = ""


def quote_item(quote: Quote, stamp: Stamp) -> Message:
    return {
        "bx": quote.bid_exchange,
        "bp": quote.bid / PRICE_UNIT,
        "bs": quote.bid_size,
        "ax": quote.ask_exchange,
        "ap": quote.ask / PRICE_UNIT,
        "as": quote.ask_size,
        "t": stamp(quote.at_us),
        "c": _REGULAR,
        "z": _NO_TAPE,
    }


def trade_item(trade: Trade, stamp: Stamp) -> Message:
    item = {
        "i": trade_id(trade),
        "x": trade.exchange,
        "p": trade.price / PRICE_UNIT,
        "s": trade.size,
        "t": stamp(trade.at_us),
        "c": list(trade.conditions),
        "z": _NO_TAPE,
    }
    if trade.amended:
        item["u"] = trade.amended
    return item


def amendment_item(amendment: Amendment, stamp: Stamp) -> Message:
    """A correction, with the trade as it was and as it is; or a cancellation."""
    was, now = amendment.original, amendment.corrected
    said = {"x": was.exchange, "t": stamp(amendment.at_us), "z": _NO_TAPE}
    if now is None:
        return said | {
            "i": trade_id(was),
            "p": was.price / PRICE_UNIT,
            "s": was.size,
            "a": amendment.action,
        }
    return said | {
        "oi": trade_id(was),
        "op": was.price / PRICE_UNIT,
        "os": was.size,
        "oc": list(was.conditions),
        "ci": trade_id(now),
        "cp": now.price / PRICE_UNIT,
        "cs": now.size,
        "cc": list(now.conditions),
    }


def bar_item(bar: Bar, stamp: Stamp) -> Message:
    return {
        "o": bar.open / PRICE_UNIT,
        "h": bar.high / PRICE_UNIT,
        "l": bar.low / PRICE_UNIT,
        "c": bar.close / PRICE_UNIT,
        "v": bar.volume,
        "n": bar.trade_count,
        "vw": bar.vwap / PRICE_UNIT if bar.vwap else None,
        "t": stamp(bar.start * MICROSECONDS),
    }


def status_item(status: Status, stamp: Stamp) -> Message:
    """In the codes of the Nasdaq tape; O1 is a halt by operations."""
    return {
        "sc": "H" if status.halted else "T",
        "sm": "Trading Halt" if status.halted else "Trading Resumption",
        "rc": "O1" if status.halted else "",
        "rm": status.reason,
        "t": stamp(status.at_us),
        "z": _NO_TAPE,
    }


def trade_id(trade: Trade) -> int:
    """A number that no other trade of the symbol has, in this feed epoch or another."""
    return trade.epoch << _TRADE_ID_SHIFT | trade.sequence


def rfc3339(at_us: int) -> str:
    """The instant in UTC to the microsecond: 2013-10-07T13:30:00.000250Z."""
    seconds, micros = divmod(at_us, MICROSECONDS)
    return f"{_to_the_second(seconds)}.{micros:06d}Z"


@lru_cache(maxsize=256)  # ticks come many to a second
def _to_the_second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def msgpack_timestamp(at_us: int) -> msgpack.Timestamp:
    """The instant as msgpack's own timestamp, extension type -1."""
    seconds, micros = divmod(at_us, MICROSECONDS)
    return msgpack.Timestamp(seconds, micros * 1_000)


@dataclass(frozen=True, slots=True, eq=False)
class Codec:
    """One way to write messages. Equal only to itself: the hub groups sockets by it."""

    name: str
    dumps: Callable[[Any], bytes]
    loads: Callable[[bytes], Any]
    stamp: Stamp
    opcode: int
    honest: bool = False

    def frame(self, message: Any) -> bytes:
        """The message as one WebSocket frame."""
        return framed(self.dumps(message), self.opcode)

    def control(self, message: Message) -> bytes:
        """A control message, alone in its array as some clients need it."""
        return self.frame([message])

    def quote(self, quote: Quote) -> bytes:
        return self._data("q", quote.symbol, self._quote_item(quote))

    def trade(self, trade: Trade) -> bytes:
        return self._data("t", trade.symbol, self._trade_item(trade))

    def amendment(self, amendment: Amendment, number: Numbered) -> bytes:
        """A correction or a cancellation of a trade.

        An honest one has in `last` what the last price is by it, where that is another.
        """
        now = amendment.corrected
        item = self._numbered(amendment_item(amendment, self.stamp), number)
        if self.honest and now is not None:
            item |= _counts_for(now)
        if self.honest and amendment.last is not None:
            item["last"] = self._trade_item(amendment.last)
        return self._data("x" if now is None else "c", amendment.symbol, item)

    def bar(self, kind: str, bar: Bar, number: Numbered) -> bytes:
        """`kind` is b, u or d: a minute bar, a corrected one, the running daily bar.

        One whose trades were all taken back has neither volume nor trades; the history has no bar
        in its place.
        """
        return self._data(kind, bar.symbol, self._numbered(bar_item(bar, self.stamp), number))

    def status(self, status: Status, number: Numbered) -> bytes:
        item = self._numbered(status_item(status, self.stamp), number)
        return self._data("s", status.symbol, item)

    def snapshot(
        self,
        symbol: str,
        quote: Quote | None,
        trade: Trade | None,
        trades: tuple[int, int] | None,
        *,
        halted: bool | None,
        amendments: tuple[int, int] | None = None,
        statuses: tuple[int, int] | None = None,
        resync: int | None = None,
    ) -> bytes:
        """Where the symbol stands: newest quote, last price, (epoch, number) of the last trade, of
        the last correction or cancellation and of the last status (null where there was none), and
        whether it is halted, as of that status (null where that could not be found out). `resync`
        is the id of the newest request to be told anew that it comes after, and so answers; null
        where there was none. For honest codecs.

        Corrections that were lost on the way to us have numbers, too: who did not hear all numbers
        up to this one finds in the history which trades were corrected.

        What is not newer than this may still arrive, and is to be passed over. Where prints were
        amended, the last price has a `rank` beyond them: [epoch, number, version], which of a print
        is [epoch, seq, 0]; the highest rank is the last price. One with `u` canceled is none: the
        symbol has no last price until its next trade.
        """
        return self.control(
            {
                "T": "snapshot",
                "S": symbol,
                "quote": quote and self._quote_item(quote),
                "trade": trade and self._trade_item(trade),
                "trades": trades,
                "amendments": amendments,
                "statuses": statuses,
                "halted": halted,
                "resync": resync,
            }
        )

    def decode(self, received: bytes | str) -> Any:
        """What a client sent; ValueError when it is not in this codec."""
        payload = received.encode() if isinstance(received, str) else received
        try:
            return self.loads(payload)
        except (ValueError, TypeError, OverflowError, RecursionError, msgpack.UnpackException) as e:
            raise ValueError("undecodable") from e

    def _quote_item(self, quote: Quote) -> Message:
        """An honest quote says how fine its source was, where it was not made of ticks."""
        item = self._numbered(quote_item(quote, self.stamp), quote)
        if self.honest and quote.resolution != "tick":
            item["resolution"] = quote.resolution
        return item

    def _trade_item(self, trade: Trade) -> Message:
        """An honest trade says what it counts for, where that is not price and volume alone, and
        its rank as last price, where that is not by its own number."""
        item = self._numbered(trade_item(trade, self.stamp), trade)
        if self.honest:
            item |= _counts_for(trade)
            if trade.stands:
                item["rank"] = trade.stands
        return item

    def _numbered(self, item: Message, number: Numbered) -> Message:
        if self.honest:
            item["seq"], item["epoch"] = number.sequence, number.epoch
        return item

    def _data(self, kind: str, symbol: str, item: Message) -> bytes:
        return self.frame([{"T": kind, "S": symbol, **item}])


def _counts_for(trade: Trade) -> Message:
    """What a trade counts for, where that is not price and volume alone."""
    said: Message = {}
    if not trade.sets_price:
        said["sets_price"] = False
    if not trade.counts_volume:
        said["counts_volume"] = False
    if trade.auction:
        said["auction"] = trade.auction
    return said


class Number(NamedTuple):
    """The place of a message that carries no number of its own."""

    sequence: int
    epoch: int


Numbered = Quote | Trade | Number


def _unpack(payload: bytes) -> Any:
    return msgpack.unpackb(payload, raw=False, strict_map_key=True)


JSON = Codec("json", orjson.dumps, orjson.loads, rfc3339, TEXT)
JSON_HONEST = Codec("json, honest", orjson.dumps, orjson.loads, rfc3339, TEXT, honest=True)
MSGPACK = Codec("msgpack", msgpack.packb, _unpack, msgpack_timestamp, BINARY)
MSGPACK_HONEST = Codec(
    "msgpack, honest", msgpack.packb, _unpack, msgpack_timestamp, BINARY, honest=True
)
# Alpaca's trading stream puts JSON into binary frames, and so do we, always.
JSON_IN_BINARY = Codec("json in binary frames", orjson.dumps, orjson.loads, rfc3339, BINARY)
JSON_IN_BINARY_HONEST = Codec(
    "json in binary frames, honest", orjson.dumps, orjson.loads, rfc3339, BINARY, honest=True
)


def market_codec(content_type: str, *, honest: bool) -> Codec:
    """The market data codec that a handshake asks for by its Content-Type; JSON if by none."""
    if content_type.partition(";")[0].strip().lower() == "application/msgpack":
        return MSGPACK_HONEST if honest else MSGPACK
    return JSON_HONEST if honest else JSON


def framed(payload: bytes, opcode: int) -> bytes:
    """The payload as one unmasked, unfragmented WebSocket frame (RFC 6455, 5.2)."""
    length = len(payload)
    if length < 126:
        return bytes((opcode, length)) + payload
    if length < 1 << 16:
        return bytes((opcode, 126)) + length.to_bytes(2) + payload
    return bytes((opcode, 127)) + length.to_bytes(8) + payload


def unframed(frames: bytes) -> Iterator[tuple[int, bytes]]:
    """The (opcode, payload) of each of our own frames, for a server that takes only messages."""
    at = 0
    while at < len(frames):
        opcode, length = frames[at], frames[at + 1]
        at += 2
        wide = _CONTINUES_AT.get(length, 0)
        if wide:
            length = int.from_bytes(frames[at : at + wide])
            at += wide
        yield opcode, frames[at : at + length]
        at += length
