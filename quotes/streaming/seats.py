"""How many sockets each account, and each key of it, has open on a stream, over all processes.

Processes that share a Redis count together (`redis_seats`), so that a limit holds over all of them.
Only who comes and who goes is told, many in one round trip, and every few seconds that this process
lives; a message costs nothing. What a process held that died is free some seconds later.

Where there is no Redis, and while it is away, each process counts alone: then the limit holds per
process, and nobody is refused for our trouble. Once it is back all that is open counts; who is in
stays in.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, Protocol, TypeVar
from weakref import WeakKeyDictionary

from django.conf import settings

Result = TypeVar("Result")
Limits = Mapping[str, int]  # holder → the most sockets that it may have

BEAT_SECONDS = 1.0  # how often a process says that it lives, where nobody comes or goes
WISHES_PER_TRIP = 250
_THREAD = ThreadPoolExecutor(1, thread_name_prefix="seats")  # one trip at a time, in order

log = logging.getLogger(__name__)


class Away(Exception):
    """Who counts for all processes does not answer."""


class Shared(Protocol):
    """Who counts for all processes. Called from one thread that is no event loop's."""

    def exchange(self, changed: Mapping[str, int], wishes: Sequence[Limits]) -> list[bool] | None:
        """Tell how many seats holders have here now, and ask for more; which were granted.

        Says as well that this process lives. None where it is not known of what else this process
        holds, and `exchange_anew` has to tell: nothing was granted then. Away.
        """

    def exchange_anew(self, taken: Mapping[str, int], wishes: Sequence[Limits]) -> list[bool]:
        """The same, where these are all the seats that are taken here. Away."""

    def leave(self) -> None:
        """Tell that what this process holds no longer counts. Away."""


class Wish(NamedTuple):
    """Somebody who waits for a seat."""

    limits: Limits
    granted: asyncio.Future[bool]


class Seats:
    """The seats that sockets of one event loop have taken."""

    def __init__(self, shared: Shared | None = None) -> None:
        self._shared = shared
        self._taken: Counter[str] = Counter()  # holder → seats
        self._changed: set[str] = set()  # holders whose count is to be told
        self._wishes: list[Wish] = []
        self._called = asyncio.Event()
        self._telling: asyncio.Task[None] | None = None
        self._left = False

    @property
    def taken(self) -> dict[str, int]:
        """How many seats each holder has here."""
        return dict(self._taken)

    async def take(self, limits: Limits) -> bool:
        """Take one for each holder, unless one of them has as many as it may.

        Who took them releases them.
        """
        if self._shared is None or self._left:
            return self._take_here(limits)
        wish = Wish(limits, asyncio.get_running_loop().create_future())
        self._wishes.append(wish)
        self._call()
        try:
            return await wish.granted
        except asyncio.CancelledError:
            if not wish.granted.cancelled() and wish.granted.result():
                self.release(limits)
            raise

    def release(self, holders: Iterable[str]) -> None:
        """Give one seat of each holder back."""
        for holder in holders:
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

    def _take_here(self, limits: Limits) -> bool:
        if any(self._taken.get(holder, 0) >= most for holder, most in limits.items()):
            return False
        self._taken.update(limits.keys())
        return True

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
        if self._left:
            with contextlib.suppress(Away):  # then it is taken for dead soon
                await _in_thread(self._shared.leave)
        self._telling = None

    async def _tell(self, shared: Shared, wishes: list[Wish]) -> None:
        """One trip, and what came of each wish; each process decides alone if it fails."""
        asked = [wish.limits for wish in wishes]
        changed, self._changed = {one: self._taken[one] for one in self._changed}, set()
        try:
            granted = await _in_thread(lambda: shared.exchange(changed, asked))
            if granted is None:
                taken = dict(self._taken)
                granted = await _in_thread(lambda: shared.exchange_anew(taken, asked))
        except Away:
            granted = None
        except Exception:
            log.exception("seats are counted by this process alone")
            granted = None
        for number, wish in enumerate(wishes):
            self._answer(wish, None if granted is None else granted[number])

    def _answer(self, wish: Wish, granted: bool | None) -> None:
        """Note what all processes granted; None: it is for us to decide."""
        if granted is None:
            granted = self._take_here(wish.limits)
        elif granted:
            self._taken.update(wish.limits.keys())
        if not wish.granted.cancelled():
            wish.granted.set_result(granted)
        elif granted:  # nobody is left to sit there
            self.release(wish.limits)


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
