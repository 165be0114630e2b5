"""How many sockets each account, and each key of it, has open on a stream, over all processes.

Processes that share a Redis count together (`redis_seats`), so that a limit holds over all of them.
Only who comes and who goes is told, many in one round trip, and every few seconds that this process
lives; a message costs nothing. What a process held that died is free some seconds later.

Where there is no Redis, and while it is away, each process counts alone: then the limit holds per
process, and nobody is refused for our trouble. Once it is back all that is open counts. Where that
is more than the limit the newest go, no more than needed and by the clock of whoever let them in;
but only when a process that died meanwhile is known to be dead, some ten seconds later.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Mapping, Set
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import NamedTuple, TypeVar
from weakref import WeakKeyDictionary

import prometheus_client
from django.conf import settings

from quotes.streaming.seating import GONE_SECONDS, Away, Limits, Seating, Shared, Told, is_full

Result = TypeVar("Result")

BEAT_SECONDS = 1.0  # how often a process says that it lives, where nobody comes or goes
WISHES_PER_TRIP = 250
ACCOUNTS_PER_TRIP = 250
# After an outage nobody goes before the processes that died in it do not count any more.
SETTLE_SECONDS = GONE_SECONDS + BEAT_SECONDS
_THREAD = ThreadPoolExecutor(1, thread_name_prefix="seats")  # one trip at a time, in order

OVER = prometheus_client.Counter(
    "openbell_stream_sockets_over_limit_total",
    "Sockets closed because processes that counted alone had let in too many.",
)
log = logging.getLogger(__name__)


class Seat:
    """What a socket has taken: one place of each holder."""

    __slots__ = ("limits", "lose", "taken_at_us")

    def __init__(self, limits: Limits, lose: Callable[[], None], taken_at_us: int) -> None:
        self.limits = limits
        self.lose = lose  # called when all processes together have given too many
        self.taken_at_us = taken_at_us  # no two of a process are the same

    @property
    def account(self) -> str:
        return next(iter(self.limits))


class Wish(NamedTuple):
    """Somebody who waits for a seat."""

    limits: Limits
    lose: Callable[[], None]
    granted: asyncio.Future[Seat | None]


class Seats:
    """The seats that sockets of one event loop have taken."""

    def __init__(self, shared: Shared | None = None) -> None:
        self._shared = shared
        self._taken: Counter[str] = Counter()  # holder → seats
        self._seats: dict[int, Seat] = {}  # by when they were taken
        self._newest_us = 0
        self._changed: set[str] = set()  # holders whose count is to be told
        self._wishes: list[Wish] = []
        self._called = asyncio.Event()
        self._telling: asyncio.Task[None] | None = None
        self._tell_all = False  # what the last trip was to tell may not have arrived
        self._left = False
        self._unsettled: set[str] = set()  # accounts that may have too many seats over all
        self._settle_at = 0.0
        self._settle_all_at = math.inf

    @property
    def taken(self) -> dict[str, int]:
        """How many seats each holder has here."""
        return dict(self._taken)

    async def take(self, limits: Limits, lose: Callable[[], None]) -> Seat | None:
        """A seat of each holder, unless one of them has as many as it may.

        The first holder is the account, whose the others are. Who took a seat releases it; `lose`
        is called when it is lost because there are too many.
        """
        if self._shared is None or self._left:
            return self._take_here(limits, lose)
        wish = Wish(limits, lose, asyncio.get_running_loop().create_future())
        self._wishes.append(wish)
        self._call()
        try:
            return await wish.granted
        except asyncio.CancelledError:
            if not wish.granted.cancelled() and (seat := wish.granted.result()) is not None:
                self.release(seat)
            raise

    def release(self, seat: Seat) -> None:
        """Give a seat back. One that was lost, or given back before, changes nothing."""
        if self._seats.pop(seat.taken_at_us, None) is None:
            return
        for holder in seat.limits:
            self._taken[holder] -= 1
            if not self._taken[holder]:
                del self._taken[holder]
            if self._shared is not None and not self._left:
                self._changed.add(holder)
                self._call()

    def leave(self) -> None:
        """This process is about to stop, and sends its clients elsewhere: there they find room."""
        self._left = True
        if self._telling is not None:
            self._called.set()

    def _take_here(self, limits: Limits, lose: Callable[[], None]) -> Seat | None:
        return None if is_full(self._taken, limits) else self._seat(limits, lose)

    def _seat(self, limits: Limits, lose: Callable[[], None]) -> Seat:
        self._newest_us = max(self._newest_us + 1, time.time_ns() // 1_000)
        seat = Seat(limits, lose, self._newest_us)
        self._seats[seat.taken_at_us] = seat
        self._taken.update(limits.keys())
        return seat

    # --- telling all processes ------------------------------------------------------------------

    def _call(self) -> None:
        """See that what has changed is told soon."""
        self._called.set()
        if self._telling is None or self._telling.done():
            self._telling = asyncio.create_task(self._tell_on())

    async def _tell_on(self) -> None:
        assert self._shared is not None
        while self._wishes or (not self._left and (self._taken or self._changed)):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(BEAT_SECONDS):
                    await self._called.wait()
            self._called.clear()
            wishes, self._wishes = (
                self._wishes[:WISHES_PER_TRIP],
                self._wishes[WISHES_PER_TRIP:],
            )
            if self._wishes:
                self._called.set()
            await self._tell(self._shared, [wish for wish in wishes if not wish.granted.done()])
            await self._settle(self._shared)
        if self._left:
            with contextlib.suppress(Away):  # then it is taken for dead soon
                await _in_thread(self._shared.leave)
        self._telling = None

    async def _tell(self, shared: Shared, wishes: list[Wish]) -> None:
        """One trip, and what came of each wish; each process decides alone if it fails."""
        asked = [wish.limits for wish in wishes]
        changed, self._changed = {one: self._taken[one] for one in self._changed}, set()
        told: Told | None = None
        try:
            if not self._tell_all:
                told = await _in_thread(lambda: shared.exchange(changed, asked))
            if told is None:
                taken = dict(self._taken)
                told = await _in_thread(lambda: shared.exchange_anew(taken, asked))
                if taken:
                    self._settle_all_at = time.monotonic() + SETTLE_SECONDS
        except Away:
            pass
        except Exception:
            log.exception("seats are counted by this process alone")
        self._tell_all = told is None
        for number, wish in enumerate(wishes):
            self._answer(wish, None if told is None else told.granted[number])
        if told is not None:
            self._unsettled.update(told.asked)

    def _answer(self, wish: Wish, granted: bool | None) -> None:
        """Note what all processes granted; None: it is for us to decide."""
        seat = None
        if granted:
            seat = self._seat(wish.limits, wish.lose)
        elif granted is None:
            seat = self._take_here(wish.limits, wish.lose)
        if not wish.granted.cancelled():
            wish.granted.set_result(seat)
        elif seat is not None:  # nobody is left to sit there
            self.release(seat)

    # --- too many ---------------------------------------------------------------------------------

    async def _settle(self, shared: Shared) -> None:
        """Once a beat: see whether too many seats were taken, until there are no more than may be.

        Who is over is found when all processes that have seats of the account have told which.
        """
        now = time.monotonic()
        if now >= self._settle_all_at:
            self._settle_all_at = math.inf
            self._unsettled.update(seat.account for seat in self._seats.values())
        if now < self._settle_at or not self._unsettled or self._left:
            return
        self._settle_at = now + BEAT_SECONDS
        here = [*self._seatings(self._unsettled).items()]
        self._unsettled.intersection_update(account for account, _ in here)
        try:
            for start in range(0, len(here), ACCOUNTS_PER_TRIP):
                await self._settle_some(shared, dict(here[start : start + ACCOUNTS_PER_TRIP]))
        except Away:
            pass  # when it is back all is told and settled anew
        except Exception:
            log.exception("who has a seat too many is not known")

    async def _settle_some(self, shared: Shared, here: Mapping[str, Seating]) -> None:
        over = await _in_thread(lambda: shared.find_over(here))
        self._unsettled -= here.keys() - over.keys()
        for at in chain.from_iterable(over.values()):
            if at in self._seats:
                self._lose(self._seats[at])

    def _seatings(self, accounts: Set[str]) -> dict[str, dict[int, Limits]]:
        """The seats that these accounts have here."""
        found: dict[str, dict[int, Limits]] = {}
        for at, seat in self._seats.items():
            if seat.account in accounts:
                found.setdefault(seat.account, {})[at] = seat.limits
        return found

    def _lose(self, seat: Seat) -> None:
        """Take a seat away; it counts no longer, however long its socket takes to close."""
        OVER.inc()
        self.release(seat)
        try:
            seat.lose()
        except Exception:
            log.exception("a socket over the limit was not closed")


async def _in_thread(job: Callable[[], Result]) -> Result:
    """Its waits have time-outs of their own."""
    return await asyncio.get_running_loop().run_in_executor(_THREAD, job)


_of_loops: WeakKeyDictionary[asyncio.AbstractEventLoop, Seats] = WeakKeyDictionary()


def seats() -> Seats:
    """Those of the running event loop."""
    loop = asyncio.get_running_loop()
    if loop not in _of_loops:
        _of_loops[loop] = Seats(_shared())
    return _of_loops[loop]


def _shared() -> Shared | None:
    if not settings.REDIS_STATE_URL:
        return None
    from quotes.streaming.redis_seats import RedisSeats  # the embedded set runs without it

    return RedisSeats(settings.REDIS_STATE_URL)
