"""The market data server of `stream_floor` in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from tests.conftest import ROOT
from tests.running import line_of


class FloorProcess(NamedTuple):
    """A server that runs; each line of its input is told as control news."""

    process: subprocess.Popen[str]
    port: int
    metrics_port: int

    @property
    def address(self) -> str:
        return f"ws://127.0.0.1:{self.port}/v2"


@contextmanager
def floor_process(*options: str) -> Iterator[FloorProcess]:
    """One that listens; killed in the end."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.quotes.stream_floor", *options],
        cwd=ROOT,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield FloorProcess(process, *(int(line_of(process)) for _ in range(2)))
    finally:
        process.kill()
        process.communicate()
