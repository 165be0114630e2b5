"""An account's trade updates, in order and each once, to whoever listens in this process.

News of an account come over the bus, numbered by `account_sequence` over all its events. News that
are early wait for what is missing; what stays missing is read from the event log, where every
update can be rebuilt from its row. A sweep finds what was lost without a successor. So a listener
gets every update that commits after it began to listen, whatever the bus loses; and where the log
does not answer either, it is known that it may lack some.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from django.db import DEFAULT_DB_ALIAS

from events.models import Event
from portfolios.models import Account
from quotes.streaming.bus import account_topic
from quotes.streaming.codec import Codec
from quotes.streaming.hub import Hub
from quotes.streaming.off_loop import off_loop, past_the_queue
from quotes.streaming.socket import Socket
from quotes.streaming.sweep import Sweep
from trading.wire import BOOKS, EVENT_KIND

log = logging.getLogger(__name__)

# Two threads that commit one after the other may publish in the other order: a few milliseconds
# of patience spare a query.
PATIENCE_SECONDS = 0.02
# Early news that wait; beyond that many all of it is read from the log.
EARLY_MAX = 1_000
PAGE = 200
# Twice in a heartbeat: what the bus lost is here, or known to be missing, when the next one is due.
SWEEP_SECONDS = 1.0
# An answer of the log that is older says nothing of what is in it now. Time for a slow one.
SURE_SECONDS = 1.5
NEVER = float("-inf")
SWEEP_ACCOUNTS = 500  # per query
READER_POLL_SECONDS = 0.05


class Numbered(NamedTuple):
    """An event of the account; `update` is None where it is no trade update."""

    number: int
    update: dict[str, Any] | None


class Listener:
    """A socket that gets an account's trade updates."""

    def __init__(self, hub: Hub, socket: Socket) -> None:
        self.hub = hub
        self.socket = socket
        self.replaying = False  # it is being told what came before; the rest follows from there
        self.replayed: int | None = None  # up to which number; None where that has not begun

    def take(self, frame: bytes) -> None:
        self.hub.say(self.socket, frame)

    async def caught_up(self) -> None:
        """Wait until a slow reader took what it was given; it is dropped if it never does."""
        while self.socket.holding and not self.socket.closed:
            await asyncio.sleep(READER_POLL_SECONDS)


class AccountUpdates:
    """The ordered updates of one account."""

    def __init__(self, account_id: int) -> None:
        self.account_id = account_id
        self.last: int | None = None  # number of the last event that listeners have had
        self.listeners: list[Listener] = []
        self._newest = 0  # number of the newest event that was heard of or seen in the log
        self._asked_at = NEVER  # when the log was last asked for it and answered, monotonic
        self._early: dict[int, dict[str, Any] | None] = {}
        self._reading: asyncio.Task[None] | None = None

    async def find_start(self) -> None:
        """Begin after the newest event there is, unless begun."""
        if self.last is None:
            asked_at = time.monotonic()
            newest = await off_loop(newest_numbers, [self.account_id])
            if self.last is None:
                self.last = newest.get(self.account_id, 0)
                self._asked_at = asked_at
                self._go_on()

    def hear(self, message: dict[str, Any]) -> None:
        """News from the bus, in any order, perhaps twice."""
        if len(self._early) >= EARLY_MAX:
            self._early.clear()
        number = message["account_sequence"]
        self._early[number] = message["update"]
        self._newest = max(self._newest, number)
        if self.last is not None:
            self._go_on()

    def learn(self, newest: int, asked_at: float) -> None:
        """The log was asked at that time and had events up to this number: read what is missing."""
        self._newest = max(self._newest, newest)
        self._asked_at = asked_at
        if self.last is not None and self.last < newest:
            self.read_soon()

    @property
    def newest(self) -> int:
        """The number of the newest event that is known of, be it missing still."""
        return max(self._newest, self.last or 0)

    def is_current(self, now: float) -> bool:
        """Whether `newest` is sure to be of late what the log has; `now` is monotonic."""
        return now - self._asked_at < SURE_SECONDS

    def read_soon(self, after_seconds: float = 0.0) -> None:
        """Read what is missing from the log, unless that is under way."""
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._read_missing(after_seconds))

    def stop(self) -> None:
        if self._reading is not None:
            self._reading.cancel()

    def told(self, listener: Listener) -> int | None:
        """The number up to which this listener has had everything; None before its first word."""
        return listener.replayed if listener.replaying else self.last

    async def replay(self, listener: Listener, since: int) -> None:
        """Tell one listener again what came after `since`, then let it go on with the rest.

        Where the log does not answer, the error is the caller's: the listener then hears nothing
        more, for what it misses would look as if it had never been.
        """
        listener.replaying, listener.replayed = True, since
        while since < (self.last or 0) and not listener.socket.closed:
            page = await off_loop(read_events, self.account_id, since, PAGE)
            # What is newer than `last` the others have not had either: its news are on the way.
            now = [event for event in page if event.number <= (self.last or 0)]
            for event in now:
                self._tell(event, [listener])
            since = listener.replayed = now[-1].number if now else self.last or 0
            await listener.caught_up()
        listener.replaying = False

    def _go_on(self) -> None:
        self._take_early()
        if self._early:
            self.read_soon(PATIENCE_SECONDS)

    def _take_early(self) -> None:
        """Deliver what came early and is next now; forget what is old."""
        assert self.last is not None
        for number in [number for number in self._early if number <= self.last]:
            del self._early[number]
        while self.last + 1 in self._early:
            self._deliver(Numbered(self.last + 1, self._early.pop(self.last + 1)))

    async def _read_missing(self, after_seconds: float) -> None:
        await asyncio.sleep(after_seconds)
        if after_seconds and not self._early:
            return  # it came by itself
        moved = True
        while moved:
            before = self.last
            try:
                await self._read_pages()
            except Exception:
                log.exception("updates of account %s are late", self.account_id)
                return  # the sweep tries again
            self._take_early()
            moved = self.last != before and bool(self._early)

    async def _read_pages(self) -> None:
        full = True
        while full:
            assert self.last is not None
            page = await off_loop(read_events, self.account_id, self.last, PAGE)
            for event in page:
                if event.number > self.last:  # the bus may have been faster
                    self._deliver(event)
            full = len(page) == PAGE

    def _deliver(self, event: Numbered) -> None:
        self.last = event.number
        self._tell(event, [each for each in self.listeners if not each.replaying])

    @staticmethod
    def _tell(event: Numbered, listeners: Sequence[Listener]) -> None:
        if event.update is None:
            return
        frames: dict[Codec, bytes] = {}
        for listener in listeners:
            codec = listener.socket.codec
            if codec not in frames:
                frames[codec] = update_frame(codec, event)
            listener.take(frames[codec])


class Deliveries:
    """The accounts that somebody listens to in this process."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._of: dict[int, AccountUpdates] = {}
        self._sweep = Sweep()

    async def join(self, account_id: int, listener: Listener) -> AccountUpdates:
        """From now on the listener misses nothing. Whoever joins leaves."""
        updates = self._of.get(account_id)
        if updates is None:
            updates = self._of[account_id] = AccountUpdates(account_id)
            self._hub.listen(account_topic(account_id), updates.hear)
        self._sweep.start(self.sweep, SWEEP_SECONDS, _say_it_failed)
        updates.listeners.append(listener)
        await self._hub.hearing()
        await updates.find_start()
        return updates

    def leave(self, account_id: int, listener: Listener) -> None:
        """Deliver nothing more to it. Twice is harmless."""
        updates = self._of.get(account_id)
        if updates is None or listener not in updates.listeners:
            return
        updates.listeners.remove(listener)
        if not updates.listeners:
            del self._of[account_id]
            self._hub.unlisten(account_topic(account_id), updates.hear)
            updates.stop()
        if not self._of:
            self._sweep.end()

    async def sweep(self) -> None:
        """Ask for the newest number of every account, and read what did not arrive."""
        accounts = list(self._of)
        for start in range(0, len(accounts), SWEEP_ACCOUNTS):
            asked_at = time.monotonic()
            some = accounts[start : start + SWEEP_ACCOUNTS]
            newest = await past_the_queue(newest_numbers, some)
            for account_id, number in newest.items():
                updates = self._of.get(account_id)
                if updates is not None:
                    updates.learn(number, asked_at)


def _say_it_failed() -> None:
    log.exception("the sweep for lost trade updates failed; it goes on")


_deliveries: WeakKeyDictionary[Hub, Deliveries] = WeakKeyDictionary()


def deliveries(hub: Hub) -> Deliveries:
    """Those of the hub's event loop."""
    if hub not in _deliveries:
        _deliveries[hub] = Deliveries(hub)
    return _deliveries[hub]


def update_of(event: Event) -> dict[str, Any] | None:
    """The trade update that an event stands for, if it stands for one."""
    payload = event.payload
    if not event.kind.startswith(EVENT_KIND) or "order" not in payload or "event" not in payload:
        return None
    return {name: value for name, value in payload.items() if name != BOOKS}


def update_frame(codec: Codec, event: Numbered) -> bytes:
    """One trade update on the wire; an honest one carries its number."""
    data: dict[str, Any] = {**(event.update or {})}
    if codec.honest:
        data["account_sequence"] = event.number
    return codec.frame({"stream": "trade_updates", "data": data})


def read_events(account_id: int, since: int, limit: int) -> list[Numbered]:
    """The account's events after a number, oldest first. On the primary: replicas lag."""
    events = Event.objects.using(DEFAULT_DB_ALIAS).filter(
        account_id=account_id, account_sequence__gt=since
    )
    return [
        Numbered(event.account_sequence or 0, update_of(event))
        for event in events.order_by("account_sequence")[:limit]
    ]


def newest_numbers(account_ids: Sequence[int]) -> dict[int, int]:
    """The number of each account's newest event."""
    accounts = Account.objects.using(DEFAULT_DB_ALIAS).filter(pk__in=account_ids)
    return dict(accounts.values_list("pk", "event_sequence"))
