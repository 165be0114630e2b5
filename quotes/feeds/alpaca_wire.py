"""Quotes and trades as Alpaca's data protocol says them, read into ours. Pure.

An honest Openbell adds `seq` and `epoch`, and says itself which trade sets a price. The real
service says it by the tape's condition letters: the rule is the sale condition matrix of the UTP
and CTA specifications, with one difference that all feeds here share: a form T trade sets the price
of an extended session.
"""

from __future__ import annotations

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


class Place(NamedTuple):
    """Where a message stands among those of its symbol and kind."""

    epoch: int
    number: int


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


def _auction(symbol: str, exchange: str, letters: tuple[str, ...]) -> str:
    """Only the listing exchange's auctions are official."""
    if exchange != listed_on(symbol):
        return ""
    if not OPENING.isdisjoint(letters):
        return OPEN
    return "" if CLOSING.isdisjoint(letters) else CLOSE
