"""A running server of our own, in a process of its own: the reactor runs once per process."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.config.server.gate import Gate
from tests.running import line_of
from tests.waiting import PATIENCE_SECONDS

ROOT = Path(__file__).resolve().parents[3]


@dataclass
class Floor:
    """A server process and what it printed."""

    process: subprocess.Popen[str]
    port: int

    @property
    def sockets_url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    def ask_to_stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def next_line(self) -> str:
        """The next line it prints; "" where it ends before, or prints none for long."""
        return line_of(self.process, PATIENCE_SECONDS)

    def output(self) -> tuple[str, str]:
        """The rest of what it printed, and what it logged, once it has ended."""
        return self.process.communicate(timeout=PATIENCE_SECONDS)


@pytest.fixture
def floor() -> Iterator[Floor]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.config.server.floor"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield Floor(process, int(line_of(process)))
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    """Where requests wait until the test opens it, or ends."""
    gate = Gate(tmp_path)
    yield gate
    gate.open()
