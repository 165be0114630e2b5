"""Requests that run until their test lets them go, however slow the machine is."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

from tests.waiting import eventually

OPENED = "opened"


class Gate:
    """A folder that both the test and the server know: whoever waits there leaves a file."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def path(self) -> str:
        """What to ask for, to wait here."""
        return f"/held?{self._folder}"

    def hold(self) -> None:
        """In the server: wait until the test opens, though not for ever."""
        (self._folder / uuid4().hex).touch()
        eventually(self._is_open, "the gate to be opened")

    def wait_for(self, count: int) -> None:
        """In the test: return once so many requests run."""
        eventually(lambda: self.begun >= count, f"{count} requests to begin")

    @property
    def begun(self) -> int:
        """How many requests have been begun."""
        return sum(each.name != OPENED for each in self._folder.iterdir())

    def open(self) -> None:
        (self._folder / OPENED).touch()

    def _is_open(self) -> bool:
        return (self._folder / OPENED).exists()
