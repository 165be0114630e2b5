"""Where a worker draws its blocks of tokens from: a source that all workers share, or its own."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import NamedTuple, Protocol

COUNTS_MAX = 100_000  # that a process keeps alone; one more and it begins again


class Draw(NamedTuple):
    """A block of tokens: how many, and how many of the limit all workers have drawn with it."""

    granted: int
    drawn: int


class Source(Protocol):
    """Who grants the tokens of a caller's minute."""

    def draw(self, caller: str, ends_at: int, limit: int) -> Draw:
        """A block for the caller in the minute that ends then; none when all are drawn."""

    def count(self, whats: Sequence[str], ends_at: int, more: int) -> list[int]:
        """How often each happened in the window that ends then, `more` times now included."""


class Alone:
    """A process that shares with nobody draws the whole limit at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ends_at = 0
        self._counts: dict[str, int] = {}

    def draw(self, caller: str, ends_at: int, limit: int) -> Draw:
        return Draw(limit, limit)

    def count(self, whats: Sequence[str], ends_at: int, more: int) -> list[int]:
        with self._lock:
            if ends_at > self._ends_at or len(self._counts) > COUNTS_MAX:
                self._ends_at = ends_at
                self._counts.clear()
            counts = {what: self._counts.get(what, 0) + more for what in whats}
            if more:
                self._counts.update(counts)
            return list(counts.values())
