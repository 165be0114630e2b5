"""How many requests a caller may make in a minute, over all processes together.

A worker draws tokens of the minute in blocks of at most a twentieth of the limit and spends them
from memory, so that most requests ask nobody. What a worker has drawn and not spent is lost at the
end of the minute: the sum over all workers may stay a little below the limit, never above it.
Towards the end of the minute's tokens the blocks get smaller, so that little is stranded.

The setting RATE_LIMIT_PER_MINUTE is a million unless the environment says otherwise: more than one
process can answer, so programs trade on their own machine without a limit, yet find the headers
that they find at Alpaca. Trading and market data are counted apart.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

from django.conf import settings
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from access.errors import RateLimited
from access.tokens import Alone, Source

WINDOW_SECONDS = 60
DATA_PATHS = "/v2/stocks/"


class Spent(NamedTuple):
    """What became of one request."""

    allowed: bool
    left: int  # tokens that this worker knows to be left; other workers hold some more
    ends_at: int  # when the minute ends, epoch seconds


@dataclass(slots=True)
class _Block:
    """What this worker holds of one caller's minute."""

    left: int = 0
    drawn: int = 0  # by all workers, when this one last asked


class Limiter:
    """One worker's blocks of tokens, per caller, in the current minute."""

    def __init__(self, source: Source | None = None) -> None:
        self._source = source
        self._lock = threading.Lock()  # never held while Redis is asked
        self._drawing = threading.Lock()  # one thread asks, and the others find what it drew
        self._ends_at = 0
        self._blocks: dict[str, _Block] = {}

    def spend(self, caller: str, limit: int, now: float) -> Spent:
        """Spend one token of the caller's, or say that there is none."""
        spent = self.spend_from_memory(caller, limit, now)
        if spent is not None:
            return spent
        with self._drawing:
            return self._draw_and_spend(caller, limit, now)

    def spend_from_memory(self, caller: str, limit: int, now: float) -> Spent | None:
        """The same without waiting for anything: None where a block must be drawn first."""
        with self._lock:
            return self._from_memory(caller, limit, now)

    def _draw_and_spend(self, caller: str, limit: int, now: float) -> Spent:
        with self._lock:
            spent = self._from_memory(caller, limit, now)  # another thread may have drawn
            ends_at = self._ends_at
        if spent is not None:
            return spent
        source = self._source or shared_source()
        granted, drawn = source.draw(caller, ends_at, limit)
        with self._lock:
            if ends_at != self._ends_at:  # the minute turned meanwhile: the token was of the last
                return Spent(granted > 0, 0, ends_at)
            block = self._blocks.setdefault(caller, _Block())
            block.left += granted
            block.drawn = max(block.drawn, drawn)
            return self._take(block, limit)

    def _from_memory(self, caller: str, limit: int, now: float) -> Spent | None:
        """The answer, or None where a block must be drawn first."""
        if now >= self._ends_at:
            self._ends_at = (int(now) // WINDOW_SECONDS + 1) * WINDOW_SECONDS
            self._blocks.clear()
        block = self._blocks.get(caller)
        if block is None or (not block.left and block.drawn < limit):
            return None
        return self._take(block, limit)

    def _take(self, block: _Block, limit: int) -> Spent:
        allowed = block.left > 0
        block.left -= allowed
        return Spent(allowed, max(limit - block.drawn, 0) + block.left, self._ends_at)


def shared_source() -> Source:
    """The source of this process: Redis where there is one."""
    return _source(settings.REDIS_STATE_URL)


@cache
def _source(url: str) -> Source:
    if not url:
        return Alone()
    from access.redis_tokens import RedisTokens  # the embedded set runs without it

    return RedisTokens(url)


limiter = Limiter()


class RequestLimit(BaseThrottle):
    """Counts every request that a credential came with, and tells the caller what is left.

    Once, though a view may stand before another one, as `access.idempotency` does.
    """

    def allow_request(self, request: Request, view: Any) -> bool:
        credential: Any = request.auth
        if credential is None:
            return True
        now = time.time()
        asked: Any = request._request
        if not hasattr(asked, "spent"):
            asked.spent = spend(credential.actor, request.path, now)
        spent: Spent = asked.spent
        view.headers.update(rate_headers(spent))
        if not spent.allowed:
            raise RateLimited(
                limit=settings.RATE_LIMIT_PER_MINUTE,
                retry_after_seconds=max(1, round(spent.ends_at - now)),
            )
        return True


def spend(actor: str, path: str, now: float) -> Spent:
    """Count a request of the actor for this path."""
    return limiter.spend(_caller(actor, path), settings.RATE_LIMIT_PER_MINUTE, now)


def spend_from_memory(actor: str, path: str, now: float) -> Spent | None:
    """The same without waiting for anything; None where that needs tokens to be drawn first."""
    return limiter.spend_from_memory(_caller(actor, path), settings.RATE_LIMIT_PER_MINUTE, now)


def rate_headers(spent: Spent) -> list[tuple[str, str]]:
    """What every answer to a caller says of its minute."""
    return [
        ("X-RateLimit-Limit", str(settings.RATE_LIMIT_PER_MINUTE)),
        ("X-RateLimit-Remaining", str(spent.left)),
        ("X-RateLimit-Reset", str(spent.ends_at)),
    ]


def _caller(actor: str, path: str) -> str:
    return ("data " if path.startswith(DATA_PATHS) else "trading ") + actor
