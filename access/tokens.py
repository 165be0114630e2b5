"""Where a worker draws its blocks of tokens from: Redis, which all workers share, or nowhere."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple, Protocol


class Draw(NamedTuple):
    """A block of tokens: how many, and how many of the limit all workers have drawn with it."""

    granted: int
    drawn: int


class Source(Protocol):
    """Who grants the tokens of a caller's minute."""

    def draw(self, caller: str, ends_at: int, limit: int) -> Draw:
        """A block for the caller in the minute that ends then; none when all are drawn."""


class Alone:
    """A process that shares with nobody draws the whole limit at once."""

    def draw(self, caller: str, ends_at: int, limit: int) -> Draw:
        return Draw(limit, limit)


@cache
def source(url: str) -> Source:
    """The source of this process: Redis where there is one."""
    if not url:
        return Alone()
    from access.redis_tokens import RedisTokens  # the embedded set runs without it

    return RedisTokens(url)
