"""`/stream`: what happens to an account's orders, in Alpaca's trade updates protocol.

Frames are JSON in binary WebSocket frames, always, as Alpaca's paper endpoint sends them. Nothing
is said before the client speaks. With `?honest=1` updates carry their `account_sequence`, there
are heartbeats, and `listen` takes a `since` from which on updates are told again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from events.models import Event
from quotes.streaming import limits, session
from quotes.streaming.bus import account_topic, bus
from quotes.streaming.codec import JSON_IN_BINARY, JSON_IN_BINARY_HONEST, Codec, Message
from quotes.streaming.consumers import StreamConsumer
from quotes.streaming.credentials import Authenticator
from quotes.streaming.session import CheckKey, Refusal
from quotes.streaming.socket import Notices, Socket
from quotes.streaming.standings import Pulse
from trading.delivery import AccountUpdates, Listener, deliveries, update_of

log = logging.getLogger(__name__)

TRADE_UPDATES = "trade_updates"
SEQUENCE_MAX = 2**63 - 1  # what the database can compare


def announce(events: Iterable[Event]) -> None:
    """Publish committed events of accounts to their streams. Any thread; call it after commit."""
    for event in events:
        if event.account_id is not None:
            news = {"account_sequence": event.account_sequence, "update": update_of(event)}
            bus().publish(account_topic(event.account_id), news)


@dataclass(frozen=True, slots=True)
class Listen:
    """The client wants these streams and no others; it has had what came up to `since`."""

    streams: tuple[str, ...]
    since: int | None


def understand(message: Any) -> CheckKey | Listen:
    """What a decoded message asks for; Refusal."""
    if not isinstance(message, dict):
        raise session.invalid_syntax()
    action, data = message.get("action"), message.get("data")
    if action == "auth" and data is None:
        return CheckKey(message.get("key"), message.get("secret"))
    if not isinstance(data, dict):
        raise session.invalid_syntax()
    if action in ("auth", "authenticate"):
        return CheckKey(data.get("key_id"), data.get("secret_key"))
    if action == "listen":
        return _listen(data.get("streams"), data.get("since"))
    raise session.invalid_syntax()


def _listen(streams: object, since: object) -> Listen:
    if not isinstance(streams, list) or not all(isinstance(name, str) for name in streams):
        raise session.invalid_syntax()
    if since is not None and not _is_number(since):
        raise session.invalid_syntax()
    accepted = (TRADE_UPDATES,) if TRADE_UPDATES in streams else ()
    return Listen(accepted, since if isinstance(since, int) else None)


def _is_number(since: object) -> bool:
    return isinstance(since, int) and not isinstance(since, bool) and 0 <= since <= SEQUENCE_MAX


def refusal_message(refusal: Refusal) -> Message:
    """A refusal in the words of this stream; every message has an object `data`."""
    if refusal.code == 401:
        return _authorization("unauthorized", "listen")
    if refusal.code in (402, 404, 406):
        return _authorization("unauthorized", "authenticate", error=refusal.text)
    return {"stream": "error", "data": {"code": refusal.code, "error": refusal.text}}


def _authorization(status: str, action: str, **more: str) -> Message:
    return {"stream": "authorization", "data": {"status": status, "action": action, **more}}


class TradeUpdatesConsumer(StreamConsumer):
    """One client of one account's trade updates."""

    stream = "trade updates"
    answers_handshake = False

    def __init__(
        self,
        authenticate: Authenticator,
        sockets_per_account: int = limits.SOCKETS_PER_ACCOUNT_MAX,
        sockets_per_key: int = limits.SOCKETS_PER_KEY_MAX,
    ) -> None:
        super().__init__(authenticate, sockets_per_account, sockets_per_key)
        self._listener: Listener | None = None
        self._updates: AccountUpdates | None = None

    def choose_codec(self, content_type: str, honest: bool) -> Codec:
        return JSON_IN_BINARY_HONEST if honest else JSON_IN_BINARY

    def notices(self, codec: Codec) -> Notices:
        return Notices(
            slow_client=codec.frame(refusal_message(session.slow_client())),
            revoked=codec.frame(refusal_message(session.auth_failed())),
            shutdown=codec.frame({"stream": "shutdown", "data": {}}),
            heartbeat=self._heartbeat,
        )

    def refuse(self, refusal: Refusal) -> None:
        self.say(refusal_message(refusal))

    def let_in(self, *, asked: bool) -> None:
        if self.account_id is None:
            self.end(session.auth_failed())
        elif asked:
            self.say(_authorization("authorized", "authenticate"))

    async def receive(self, message: Any) -> None:
        match understand(message):
            case CheckKey(key_id, secret):
                await self.check_key(key_id, secret)
            case Listen() as listen:
                if self.credential is None:
                    raise session.not_authenticated()
                await self._listen_or_end(listen)

    def clean_up(self) -> None:
        self._stop_listening()
        super().clean_up()
        if hasattr(self, "socket"):
            del self.socket  # its heartbeat is ours, and we would keep each other

    @property
    def account_id(self) -> int | None:
        return None if self.credential is None else self.credential.account_id

    async def _listen_or_end(self, listen: Listen) -> None:
        """A client that stayed would take what it was not told for what never happened."""
        try:
            await self._listen(listen)
        except Exception:
            log.exception("a client could not be told its trade updates")
            self.end(session.internal_error())

    async def _listen(self, listen: Listen) -> None:
        """Join before the ack, so that what commits after the ack is never missed."""
        if not listen.streams:
            self._stop_listening()
        elif self._listener is None:
            self._listener = Listener(self.hub, self.socket)
            self._listener.replaying = True  # nothing before the ack
            await self._join(self._listener)
        self._acknowledge(listen)
        if self._updates is None or self._listener is None:
            return
        self._listener.replaying = False
        if listen.since is not None and self.socket.codec.honest:
            await self._updates.replay(self._listener, listen.since)

    async def _join(self, listener: Listener) -> None:
        assert self.account_id is not None
        try:
            self._updates = await deliveries(self.hub).join(self.account_id, listener)
        except BaseException:
            self._stop_listening()
            raise

    def _acknowledge(self, listen: Listen) -> None:
        data: dict[str, Any] = {"streams": list(listen.streams)}
        if self.socket.codec.honest and self._updates is not None:
            data["account_sequence"] = self._updates.last
        self.say({"stream": "listening", "data": data})

    def _stop_listening(self) -> None:
        if self._listener is not None and self.account_id is not None:
            deliveries(self.hub).leave(self.account_id, self._listener)
        self._listener = self._updates = None

    def _heartbeat(self, socket: Socket, pulse: Pulse) -> bytes:
        """Up to which number this socket has had everything, and up to which there is something.

        `sent` counts all messages on this socket before this one. A client that listens has
        everything if a heartbeat arrives every two seconds and is `current`, counts as many
        messages as arrived, and its `account_sequence` is `newest`. Where that is higher the rest
        is on its way; while `current` is false this server itself may have missed something, and
        tells it as soon as it has found out.
        """
        told = newest = None
        current = True  # whoever listens to nothing misses nothing
        if self._updates is not None and self._listener is not None:
            told, newest = self._updates.told(self._listener), self._updates.newest
            current = self._updates.is_current(time.monotonic())
        data = {
            "account_sequence": told,
            "newest": newest,
            "current": current,
            "sent": socket.sent,
            "quiet_ms": pulse.quiet_ms,
        }
        return socket.codec.frame({"stream": "heartbeat", "data": data})
