"""The market data protocol as a pure state machine: a message in, what it comes to out.

No I/O in here. A `Session` is what one client has said so far; the consumer decodes messages,
checks keys and writes the answers. Nothing a client can send raises anything but `Refusal`, and a
refused message changes nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from quotes.streaming.audience import Channel
from quotes.streaming.codec import Message
from quotes.streaming.limits import SYMBOL_LENGTH_MAX, SYMBOLS_MAX

# These cannot be asked for: whoever takes trades gets their corrections. A client that names them
# all the same only repeats what it read in an ack.
FOLLOW_TRADES = ("corrections", "cancelErrors")
# Channels of Alpaca's other feeds; empty lists of them do no harm.
OF_OTHER_FEEDS = ("news", "orderbooks", "updatedOrderbooks", "imbalances")

RESYNC_ID_MAX = 2**53 - 1  # what JavaScript counts to

CONNECTED: Message = {"T": "success", "msg": "connected"}
AUTHENTICATED: Message = {"T": "success", "msg": "authenticated"}


class Refusal(Exception):
    """An error of the protocol: its code and its words."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text

    def message(self) -> Message:
        return {"T": "error", "code": self.code, "msg": self.text}

    @property
    def close_code(self) -> int:
        """The WebSocket close code where the refusal ends the connection."""
        return 4000 + self.code


def invalid_syntax() -> Refusal:
    return Refusal(400, "invalid syntax")


def not_authenticated() -> Refusal:
    return Refusal(401, "not authenticated")


def auth_failed() -> Refusal:
    return Refusal(402, "auth failed")


def already_authenticated() -> Refusal:
    return Refusal(403, "already authenticated")


def auth_timeout() -> Refusal:
    return Refusal(404, "auth timeout")


def symbol_limit_exceeded() -> Refusal:
    return Refusal(405, "symbol limit exceeded")


def connection_limit_exceeded() -> Refusal:
    return Refusal(406, "connection limit exceeded")


def slow_client() -> Refusal:
    return Refusal(407, "slow client")


def insufficient_subscription() -> Refusal:
    return Refusal(409, "insufficient subscription")


def invalid_subscribe_action() -> Refusal:
    return Refusal(410, "invalid subscribe action for this feed")


def too_many_messages() -> Refusal:
    """Alpaca has no code for it; clients treat one they do not know as any other."""
    return Refusal(429, "too many messages")


def internal_error() -> Refusal:
    return Refusal(500, "internal error")


@dataclass(frozen=True, slots=True)
class CheckKey:
    """The client shows a key. `Session.admit` if it is good."""

    key_id: object
    secret: object


@dataclass(frozen=True, slots=True)
class Resync:
    """An honest client has lost something and wants to know where everything stands.

    The snapshots that answer carry its `id`, so that an earlier one is not taken for them.
    """

    id: int | None


@dataclass(frozen=True, slots=True)
class Subscribed:
    """The client's whole subscription has changed to, or was confirmed as, `wants`."""

    wants: Mapping[Channel, tuple[str, ...]]

    @property
    def names(self) -> int:
        """How many entries it has over all channels."""
        return sum(map(len, self.wants.values()))

    def message(self) -> Message:
        """The ack: always the complete state, with every channel there is."""
        listed = {channel.value: list(self.wants[channel]) for channel in Channel}
        follow = {name: list(self.wants[Channel.TRADES]) for name in FOLLOW_TRADES}
        return {"T": "subscription", **listed, **follow}


class Session:
    """What one client has said: who it is, and what it wants."""

    def __init__(self, *, honest: bool = False) -> None:
        self.honest = honest
        self.authenticated = False
        # Dictionaries as ordered sets: acks list symbols in the order they were asked for.
        self._wants: dict[Channel, dict[str, None]] = {channel: {} for channel in Channel}

    @property
    def subscribed(self) -> Subscribed:
        return Subscribed({channel: tuple(symbols) for channel, symbols in self._wants.items()})

    def admit(self) -> None:
        """The client is who it says."""
        self.authenticated = True

    def receive(self, message: Any) -> CheckKey | Subscribed | Resync:
        """What a decoded message comes to; Refusal."""
        if not isinstance(message, dict):
            raise invalid_syntax()
        action = message.get("action")
        if action == "auth":
            if self.authenticated:
                raise already_authenticated()
            return CheckKey(message.get("key"), message.get("secret"))
        if action not in ("subscribe", "unsubscribe") and not (self.honest and action == "resync"):
            raise invalid_syntax()
        if not self.authenticated:
            raise not_authenticated()
        if action == "resync":
            return _resync(message.get("id"))
        return self._subscribe(message) if action == "subscribe" else self._unsubscribe(message)

    def _subscribe(self, message: Message) -> Subscribed:
        asked = _symbols_by_channel(message)
        if any(message.get(name) for name in OF_OTHER_FEEDS):
            raise invalid_subscribe_action()
        wants = {channel: symbols | asked[channel] for channel, symbols in self._wants.items()}
        if sum(len(symbols) for symbols in wants.values()) > SYMBOLS_MAX:
            raise symbol_limit_exceeded()
        self._wants = wants
        return self.subscribed

    def _unsubscribe(self, message: Message) -> Subscribed:
        asked = _symbols_by_channel(message)
        self._wants = {
            channel: {symbol: None for symbol in symbols if symbol not in asked[channel]}
            for channel, symbols in self._wants.items()
        }
        return self.subscribed


def _resync(id: object) -> Resync:
    if id is not None and (not isinstance(id, int) or not 0 <= id <= RESYNC_ID_MAX):
        raise invalid_syntax()
    return Resync(id)


def _symbols_by_channel(message: Message) -> dict[Channel, dict[str, None]]:
    return {channel: _symbols(message.get(channel.value)) for channel in Channel}


def _symbols(asked: object) -> dict[str, None]:
    if asked is None:
        return {}
    if not isinstance(asked, list) or not all(_is_symbol(symbol) for symbol in asked):
        raise invalid_syntax()
    return dict.fromkeys(map(sys.intern, asked))  # thousands of clients name the same ones


def _is_symbol(symbol: object) -> bool:
    return isinstance(symbol, str) and 0 < len(symbol) <= SYMBOL_LENGTH_MAX and symbol.isprintable()
