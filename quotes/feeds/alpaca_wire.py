"""Quotes and trades as Alpaca's data protocol says them, read into ours. Pure.

An honest Openbell adds `seq` and `epoch`, and says itself which trade sets a price. The real
service says it by the tape's condition letters: the rule is the sale condition matrix of the UTP
and CTA specifications, with one difference that all feeds here share: a form T trade sets the price
of an extended session. Its status codes are those of the same two tapes.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, NamedTuple

import msgpack

from quotes.amounts import PRICE_UNIT
from quotes.feeds.listings import listed_on
from quotes.ticks import CLOSE, MICROSECONDS, OPEN, Quote, Trade

Message = dict[str, Any]

# Average price, cash, bunched sold, price variation, odd lot, official close and open, next day,
# prior reference, seller, out of sequence, contingent, derivatively priced and their like.
SETS_NO_PRICE = frozenset("BCGHIMNPQRUVWZ479")
COUNTS_NO_VOLUME = frozenset("MQ9")  # they repeat what an auction has printed
OPENING, CLOSING = frozenset("OQ"), frozenset("6M")
# Tapes A and B say 2 and 3, tape C says H (halt), P (volatility pause) and T (trading resumption).
HALTS, RESUMES = frozenset("2HP"), frozenset("3T")


class Place(NamedTuple):
    """Where a message stands among those of its symbol and kind."""

    epoch: int
    number: int


class Revision(NamedTuple):
    """What a message says of an earlier trade, which it calls by name."""

    symbol: str
    at_us: int
    of: Hashable
    corrected: Trade | None  # without a number; None: canceled
    name: Hashable  # of the corrected one, which may be corrected again
    action: str


def place_of(message: Message) -> Place | None:
    """None where the upstream numbers nothing."""
    number = message.get("seq")
    return None if number is None else Place(message["epoch"], number)


def micros_of(stamp: msgpack.Timestamp) -> int:
    """A msgpack timestamp in microseconds since the epoch."""
    return stamp.seconds * MICROSECONDS + stamp.nanoseconds // 1_000


def price_of(dollars: float) -> int:
    """A price of the wire in 1/10,000 USD."""
    return round(dollars * PRICE_UNIT)


def read_quote(symbol: str, message: Message) -> Quote:
    """Without a number; KeyError, TypeError or AttributeError where the message is none."""
    return Quote(
        symbol,
        micros_of(message["t"]),
        bid=price_of(message["bp"]),
        bid_size=int(message["bs"]),
        ask=price_of(message["ap"]),
        ask_size=int(message["as"]),
        bid_exchange=message.get("bx", ""),
        ask_exchange=message.get("ax", ""),
        resolution=message.get("resolution", "tick"),
    )


def read_trade(symbol: str, message: Message) -> Trade:
    """Without a number; KeyError, TypeError or AttributeError where the message is none."""
    letters = tuple(message.get("c") or ())
    exchange = message.get("x", "")
    told = "seq" in message
    return Trade(
        symbol,
        micros_of(message["t"]),
        price=price_of(message["p"]),
        size=int(message["s"]),
        exchange=exchange,
        conditions=letters,
        sets_price=message.get("sets_price", told or SETS_NO_PRICE.isdisjoint(letters)),
        counts_volume=message.get("counts_volume", told or COUNTS_NO_VOLUME.isdisjoint(letters)),
        auction=message.get("auction", "") if told else _auction(symbol, exchange, letters),
    )


def name_of(symbol: str, message: Message, key: str = "i") -> Hashable:
    """A trade's own name: exchanges number their trades, each for itself."""
    return symbol, message.get("x", ""), message.get(key)


def read_revision(symbol: str, message: Message) -> Revision:
    """A correction (T: c) or a cancellation (T: x); KeyError, TypeError or AttributeError."""
    at_us = micros_of(message["t"])
    if message["T"] == "x":
        of = name_of(symbol, message)
        return Revision(symbol, at_us, of, None, None, message.get("a", "C"))
    corrected = read_trade(
        symbol,
        {**message, "i": message["ci"], "p": message["cp"], "s": message["cs"], "c": message["cc"]},
    )
    of, name = name_of(symbol, message, "oi"), name_of(symbol, message, "ci")
    return Revision(symbol, at_us, of, corrected, name, "")


def read_status(message: Message) -> bool | None:
    """Whether a status message (T: s) halts its symbol or resumes it; None where it does neither.

    Most say something else: price indications and imbalances (5 to 9, A, C, D), a short sale
    restriction (E), new price bands (F; a pause at one of them is a 2 of its own), or that quoting
    resumes, minutes before trading does (Q). KeyError where the message has no code.
    """
    code = message["sc"]
    return True if code in HALTS else False if code in RESUMES else None


def _auction(symbol: str, exchange: str, letters: tuple[str, ...]) -> str:
    """Only the listing exchange's auctions are official."""
    if exchange != listed_on(symbol):
        return ""
    if not OPENING.isdisjoint(letters):
        return OPEN
    return "" if CLOSING.isdisjoint(letters) else CLOSE
