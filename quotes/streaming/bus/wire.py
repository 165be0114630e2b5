"""Messages as bytes: msgpack arrays, in which ticks and bars are arrays of their fields."""

from __future__ import annotations

from typing import Any

import msgpack

from quotes.ticks import Amendment, Bar, Batch, Quote, Trade

PLAIN, BATCH, BARS = 0, 1, 2

_quote, _trade = Quote._make, Trade._make

# Ticks are told apart by this field: an array in a trade, a number in a quote.
_CONDITIONS = Trade._fields.index("conditions")
assert Quote._fields[_CONDITIONS] == "received_us", "a quote has a number there"


def pack(publisher: str, serial: int, message: Any) -> bytes:
    """The message, with who published it and its number on its topic (0 where nobody counts)."""
    kind = PLAIN
    if isinstance(message, Batch):
        kind = BATCH
    elif isinstance(message, list) and message and isinstance(message[0], Bar):
        kind = BARS
    return msgpack.packb((publisher, serial, kind, msgpack.packb(message)))


def unpack(data: bytes) -> tuple[str, int, Any]:
    """Publisher, number and message. ValueError where it is none of ours."""
    try:
        publisher, serial, kind, body = msgpack.unpackb(data)
        return publisher, serial, _MESSAGES[kind](body)
    except (TypeError, KeyError, ValueError, msgpack.UnpackException) as error:
        raise ValueError(f"not a message of this bus: {error}") from error


def _batch(body: bytes) -> Batch:
    ticks, watermark_us, epoch, number, amended = msgpack.unpackb(body, use_list=False)
    made = tuple([_trade(one) if type(one[_CONDITIONS]) is tuple else _quote(one) for one in ticks])
    amendments = tuple([_amendment(*fields) for fields in amended]) if amended else ()
    return Batch(made, watermark_us, epoch, number, amendments)


def _amendment(
    symbol: str, at_us: int, original: Any, corrected: Any, action: str, printed: int, last: Any
) -> Amendment:
    now = None if corrected is None else Trade._make(corrected)
    price = None if last is None else Trade._make(last)
    return Amendment(symbol, at_us, Trade._make(original), now, action, printed, price)


def _bars(body: bytes) -> list[Bar]:
    return [Bar._make(bar) for bar in msgpack.unpackb(body, use_list=False)]


_MESSAGES = {PLAIN: msgpack.unpackb, BATCH: _batch, BARS: _bars}
