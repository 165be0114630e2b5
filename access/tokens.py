"""Where a worker draws its blocks of tokens from: a source that all workers share, or its own."""

from __future__ import annotations

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
