"""Of many threads that load at once, one loads for all.

Who comes while a load is under way joins the next one, which begins when that one ends: however
many ask, one load runs and one is gathered.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Generic, TypeVar

from events.errors import Unavailable

Value = TypeVar("Value")

WAIT_SECONDS = 5.0
TOO_LONG = "the quotes are still being loaded, try again"


class _Batch(Generic[Value]):
    """One load, of all that was asked for until it began."""

    def __init__(self) -> None:
        self.keys: dict[str, None] = {}  # in the order of asking, each once
        self.ended = threading.Event()
        self.found: Mapping[str, Value] = {}
        self.error: Exception | None = None


class Gathering(Generic[Value]):
    """A loader of values by key, called by one thread at a time."""

    def __init__(self, load: Callable[[Iterable[str]], Mapping[str, Value]]) -> None:
        self._load = load
        self._turn = threading.Lock()  # of the load that runs
        self._joining = threading.Lock()
        self._next: _Batch[Value] | None = None

    def __call__(self, keys: Iterable[str]) -> dict[str, Value]:
        """The values that the loader knows of these keys.

        Raises what the load raised that these keys were part of, and Unavailable after
        `WAIT_SECONDS`.
        """
        wanted = list(keys)
        batch, leads = self._join(wanted)
        if leads:
            self._lead(batch)
        elif not batch.ended.wait(2 * WAIT_SECONDS):  # for its turn, and for its load
            raise Unavailable(TOO_LONG)
        if batch.error is not None:
            raise batch.error
        return {key: batch.found[key] for key in wanted if key in batch.found}

    def _join(self, keys: list[str]) -> tuple[_Batch[Value], bool]:
        with self._joining:
            leads = self._next is None
            batch = self._next = self._next or _Batch()
            batch.keys |= dict.fromkeys(keys)
        return batch, leads

    def _lead(self, batch: _Batch[Value]) -> None:
        has_turn = self._turn.acquire(timeout=WAIT_SECONDS)
        with self._joining:
            self._next = None
        try:
            if not has_turn:
                raise Unavailable(TOO_LONG)
            batch.found = self._load(batch.keys)
        except Exception as error:
            batch.error = error
        finally:
            if has_turn:
                self._turn.release()
            batch.ended.set()
