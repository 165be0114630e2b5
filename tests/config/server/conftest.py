"""A running server of our own, in a process of its own: the reactor runs once per process."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

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

    def output(self, timeout_seconds: float = 10) -> tuple[str, str]:
        """What it printed and logged, once it has ended."""
        return self.process.communicate(timeout=timeout_seconds)


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
        assert process.stdout is not None
        yield Floor(process, int(process.stdout.readline()))
    finally:
        process.kill()
        process.communicate()
