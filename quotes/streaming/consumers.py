"""Sockets between the server and the hub: the handshake, who is there, and what they say.

`StreamConsumer` is what every stream of Openbell shares: whom it lets in, for how long, how many,
and how it cleans up. `MarketDataConsumer` speaks Alpaca's market data protocol on it; trade
updates are in `trading.streaming`. `?honest=1` asks for the honest variant of either.

Unlike Channels' own consumers these read one message after the other in one task, and make no
database round trip before each.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, ClassVar
from urllib.parse import parse_qs

from channels.consumer import AsyncConsumer

from quotes.streaming import limits, session
from quotes.streaming.audience import newly_wanted, told_of
from quotes.streaming.bulletins import heartbeat
from quotes.streaming.codec import Codec, Message, market_codec
from quotes.streaming.credentials import COOKIE_HEADER, KEY_HEADERS, Authenticator, Credential
from quotes.streaming.frames import SentFrames, hang_up, shut_out
from quotes.streaming.hub import REVOKED_CLOSE, Hub, hub
from quotes.streaming.off_loop import off_loop
from quotes.streaming.seats import Seat, seats
from quotes.streaming.session import CheckKey, Refusal, Resync, Session, Subscribed
from quotes.streaming.socket import Notices, Socket
from quotes.streaming.watch import watch

log = logging.getLogger(__name__)

FEEDS = frozenset({"iex", "sip", "delayed_sip", "test"})  # names of the one market there is

Scope = dict[str, Any]
Prove = Callable[[], Credential | None]

_failures = limits.Failures()
_allowances = limits.Allowances()
_strangers: set[StreamConsumer] = set()


def drain() -> None:
    """Tell honest sockets that this process stops, let all find room elsewhere; on their loop."""
    hub().drain()
    seats().leave()


class StreamConsumer(AsyncConsumer):
    """One client of one stream, from its handshake to its end."""

    stream: ClassVar[str]  # its name; the limits on sockets are those of each stream
    answers_handshake: ClassVar[bool] = True  # False: says nothing before the client speaks

    def __init__(
        self,
        authenticate: Authenticator,
        sockets_per_account: int = limits.SOCKETS_PER_ACCOUNT_MAX,
        sockets_per_key: int = limits.SOCKETS_PER_KEY_MAX,
    ) -> None:
        self.authenticator = authenticate
        self.sockets_per_account = sockets_per_account
        self.sockets_per_key = sockets_per_key
        self.credential: Credential | None = None
        self.socket: Socket
        self.hub: Hub
        self._attempts = 0
        self._seat: Seat | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    # --- what each stream says in its own words -----------------------------------------------

    def choose_codec(self, content_type: str, honest: bool) -> Codec:
        raise NotImplementedError

    def notices(self, codec: Codec) -> Notices:
        raise NotImplementedError

    def welcome(self) -> None:
        """On a new socket, before anything else."""

    def refuse(self, refusal: Refusal) -> None:
        raise NotImplementedError

    def let_in(self, *, asked: bool) -> None:
        """The credential is good, and there is a seat; `asked` if by a message."""
        raise NotImplementedError

    async def receive(self, message: Any) -> None:
        """A decoded message; may raise Refusal."""
        raise NotImplementedError

    # --- ASGI -------------------------------------------------------------------------------

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        self.scope = scope
        self.base_send = send
        if (await receive())["type"] != "websocket.connect":
            return
        if len(_strangers) >= limits.STRANGERS_MAX:
            await send({"type": "websocket.close"})
            return
        try:
            await self._open()
            while (message := await receive())["type"] == "websocket.receive":
                await self._guarded(self._hear(message))
        finally:
            self.clean_up()

    async def _open(self) -> None:
        _strangers.add(self)
        await self.base_send({"type": "websocket.accept"})
        headers = dict(self.scope["headers"])
        honest = parse_qs(self.scope.get("query_string", b"")).get(b"honest") == [b"1"]
        codec = self.choose_codec(headers.get(b"content-type", b"").decode("latin-1"), honest)
        extensions = self.scope.get("extensions") or {}
        self.hub = hub()
        self._frames = extensions.get("openbell.frames") or SentFrames(self.base_send)
        self.socket = Socket(self._frames, codec, self.notices(codec), close=self._hang_up)
        self._pace = limits.Pace(limits.MESSAGES_BURST, limits.MESSAGES_PER_SECOND, self._now())
        self.hub.join(self.socket)
        self._call_later(limits.AUTH_TIMEOUT_SECONDS, self._time_out)
        self.welcome()
        await self._guarded(self._look_at_handshake(headers))

    async def _hear(self, message: dict[str, Any]) -> None:
        if not self._pace.allows(self._now()):
            self.end(session.too_many_messages())
            return
        received = message.get("text")
        if received is None:
            received = message.get("bytes") or b""
        if len(received) > limits.MESSAGE_BYTES_MAX:
            raise session.invalid_syntax()
        try:
            decoded = self.socket.codec.decode(received)
        except ValueError as undecodable:
            raise session.invalid_syntax() from undecodable
        await self.receive(decoded)

    async def _guarded(self, handling: Awaitable[None]) -> None:
        """Whatever goes wrong with one message is said, and the next is heard."""
        try:
            await handling
        except Refusal as refusal:
            self.refuse(refusal)
        except Exception:
            log.exception("a message of a stream was not handled")
            self.refuse(session.internal_error())

    def clean_up(self) -> None:
        """Leave nothing behind, however the socket ended."""
        _strangers.discard(self)
        watch().discard(self)
        self._stop_timer()
        if self._seat is not None:
            seats().release(self._seat)
            self._seat = None  # it knows us, and we would keep each other
        for task in self._tasks:
            task.cancel()
        if hasattr(self, "socket"):
            self.hub.leave(self.socket)
            self.socket.forget()
            if isinstance(self._frames, SentFrames):
                self._frames.abort()

    # --- saying and ending --------------------------------------------------------------------

    def say(self, message: Any) -> None:
        self.hub.say(self.socket, self.socket.codec.frame(message))

    def end(self, refusal: Refusal) -> None:
        """Say why, and close."""
        self.refuse(refusal)
        self.socket.close(refusal.close_code)

    def _hang_up(self, code: int) -> None:
        end = shut_out if code == REVOKED_CLOSE else hang_up
        self.spawn(end(self._frames, self.base_send, code))

    def spawn(self, work: Any) -> None:
        """Run a task that ends with this socket."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _call_later(self, seconds: float, then: Callable[[], None]) -> None:
        self._stop_timer()
        self._timer = asyncio.get_running_loop().call_later(seconds, then)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()

    # --- who is there -------------------------------------------------------------------------

    async def check_key(self, key_id: object, secret: object) -> None:
        """Let the owner of the key in, or refuse as the contract says."""
        prove = partial(self.authenticator.by_key, key_id, secret)
        credential = await off_loop(prove)
        if credential is None or not self._is_still(credential):
            await self._fail(session.auth_failed())
        else:
            await self._admit(credential, prove, asked=True)

    async def _look_at_handshake(self, headers: dict[bytes, bytes]) -> None:
        shows_key = not KEY_HEADERS.isdisjoint(headers)
        if not shows_key and COOKIE_HEADER not in headers:
            return
        prove = partial(self.authenticator.by_scope, self.scope)
        credential = await off_loop(prove)
        if credential is not None:
            await self._admit(credential, prove, asked=False)
        elif shows_key and self.answers_handshake:
            # A cookie alone may mean nothing: the client may still say who it is.
            await self._fail(session.auth_failed())

    def _is_still(self, credential: Credential) -> bool:
        """Nobody becomes someone else on an open socket."""
        return self.credential is None or self.credential.account_id == credential.account_id

    async def _admit(self, credential: Credential, prove: Prove, *, asked: bool) -> None:
        if self.socket.closed:
            return
        if self.credential is None:
            self._seat = await seats().take(self._limits(credential), self._lose_seat)
            if self._seat is None:
                await self._fail(session.connection_limit_exceeded(), final=True)
                return
            self.credential = self.socket.credential = credential
            _strangers.discard(self)
            self._stop_timer()
            if credential.key_id is None:
                self._recheck_later(prove)
            watch().add(self)
        self.let_in(asked=asked)

    def _lose_seat(self) -> None:
        """Processes that could not count together let in too many, and this is one of them."""
        self.end(session.connection_limit_exceeded())

    def _limits(self, credential: Credential) -> dict[str, int]:
        """How many sockets the account, and its key if there is one, may have."""
        account = f"{self.stream}:account:{credential.user_id}:{credential.account_id}"
        limit_of = {account: self.sockets_per_account}
        if credential.key_id is not None:
            limit_of[f"{self.stream}:key:{credential.key_id}"] = self.sockets_per_key
        return limit_of

    async def _fail(self, refusal: Refusal, *, final: bool = False) -> None:
        """Refuse slowly: some clients come back at once, for ever."""
        client = self.scope.get("client") or [""]
        await asyncio.sleep(_failures.delay_after(str(client[0]), self._now()))
        self._attempts += 1
        if final or self._attempts >= limits.AUTH_ATTEMPTS_MAX:
            self.end(refusal)
        else:
            self.refuse(refusal)

    def _time_out(self) -> None:
        self.end(session.auth_timeout())

    def _recheck_later(self, prove: Prove) -> None:
        seconds = limits.RECHECK_SECONDS * random.uniform(1, 1.5)  # or a fleet asks at once
        self._call_later(seconds, lambda: self.spawn(self._recheck(prove)))

    async def _recheck(self, prove: Prove) -> None:
        """A login session may end without news; keys and users are watched."""
        try:
            credential = await off_loop(prove)
        except Exception:
            log.warning("a credential could not be checked again", exc_info=True)
        else:
            if credential is None or not self._is_still(credential):
                self.revoke()
                return
        self._recheck_later(prove)

    def revoke(self) -> None:
        """The credential no longer holds."""
        self.hub.revoke(self.socket)


class MarketDataConsumer(StreamConsumer):
    """`/v2/{feed}`: quotes, trades, bars and statuses of the market, in Alpaca's protocol."""

    stream = "data"

    def __init__(
        self,
        authenticate: Authenticator,
        sockets_per_account: int = limits.SOCKETS_PER_ACCOUNT_MAX,
        sockets_per_key: int = limits.SOCKETS_PER_KEY_MAX,
        feeds: frozenset[str] = FEEDS,
    ) -> None:
        super().__init__(authenticate, sockets_per_account, sockets_per_key)
        self.feeds = feeds
        self.session = Session()

    def choose_codec(self, content_type: str, honest: bool) -> Codec:
        self.session.honest = honest
        return market_codec(content_type, honest=honest)

    def notices(self, codec: Codec) -> Notices:
        return Notices(
            slow_client=codec.control(session.slow_client().message()),
            revoked=codec.control(session.auth_failed().message()),
            shutdown=codec.control({"T": "shutdown"}),
            heartbeat=heartbeat,
        )

    def welcome(self) -> None:
        self._say_alone(session.CONNECTED)

    def refuse(self, refusal: Refusal) -> None:
        self._say_alone(refusal.message())

    def let_in(self, *, asked: bool) -> None:
        if self.scope["url_route"]["kwargs"]["feed"] not in self.feeds:
            self.end(session.insufficient_subscription())
            return
        self.session.admit()
        self._say_alone(session.AUTHENTICATED)

    async def receive(self, message: Any) -> None:
        asked = self.session.receive(message)
        if isinstance(asked, CheckKey):
            await self.check_key(asked.key_id, asked.secret)
        elif not await self._has_its_turn(self._cost(asked)):
            return
        elif isinstance(asked, Resync):
            await self.hub.resync(self.socket, asked.id)
        else:
            await self._subscribe(asked)

    async def _subscribe(self, subscribed: Subscribed) -> None:
        if not self.socket.codec.honest:
            self.hub.want(self.socket, subscribed.wants)
            self._say_alone(subscribed.message())
            return
        standing = await self.hub.want_from_here(self.socket, subscribed.wants)
        self._say_alone(subscribed.message())
        self.hub.snapshot(self.socket, standing)

    def _cost(self, asked: Subscribed | Resync) -> int:
        """About how many snapshots it takes to answer, or what costs as much."""
        if isinstance(asked, Resync):
            return self.hub.count(told_of(self.socket))
        names = asked.names // limits.NAMES_PER_SNAPSHOT
        if not self.socket.codec.honest:
            return names
        return names + self.hub.count(newly_wanted(self.socket, asked.wants))

    async def _has_its_turn(self, cost: int) -> bool:
        """Wait until the user may have this answer; False where the socket ended."""
        seconds = _allowances.wait_for(self.socket.credential.user_id, cost, self._now())
        if seconds is None:
            self.end(session.too_many_messages())
        elif seconds:
            await asyncio.sleep(seconds)  # and read nothing more of this client
        return not self.socket.closed

    def _say_alone(self, message: Message) -> None:
        """Control messages come alone in their array, as some clients need it."""
        self.say([message])
