"""A real Openbell for tests and benchmarks: the launcher, in a home of its own, on a free port."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from tests.waiting import eventually

ROOT = Path(__file__).resolve().parent.parent
READY_SECONDS_MAX = 400.0  # a first start generates a year of history, on a busy machine too
STOP_SECONDS_MAX = 60.0
START_SECONDS_MAX = 120.0  # of a single process that generates nothing
GREETING = b"Ctrl-C stops it."  # the last line of what a started platform says


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def wait_for_port(port: int) -> None:
    """Wait until somebody listens there."""

    def somebody_listens() -> bool:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            return False
        return True

    eventually(somebody_listens, f"somebody on port {port}", READY_SECONDS_MAX)


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """A process that hangs for the length of the block."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def line_of(process: subprocess.Popen[str], seconds: float = START_SECONDS_MAX) -> str:
    """The next line it prints; "" where it ends before. It is killed if that takes longer."""
    assert process.stdout is not None
    last_resort = threading.Timer(seconds, process.kill)
    last_resort.start()
    try:
        return process.stdout.readline()
    finally:
        last_resort.cancel()


def workers_of(master: int) -> list[int]:
    """The worker processes of a gunicorn, by the id of its master."""
    return [int(pid) for pid in Path(f"/proc/{master}/task/{master}/children").read_text().split()]


@dataclass
class RunningPlatform:
    """`with RunningPlatform(home) as platform:` starts Openbell and stops it, whatever happens."""

    home: Path
    settings: dict[str, str] = field(default_factory=dict)  # FEED, DATE, SPEED, STEPPED, …
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None
    credentials: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        return self.home / "launcher.log"

    @property
    def key(self) -> str:
        return self.credentials["APCA_API_KEY_ID"]

    @property
    def secret(self) -> str:
        return self.credentials["APCA_API_SECRET_KEY"]

    def environment(self) -> dict[str, str]:
        """The environment of the running platform, for management commands beside it."""
        inherited = {
            name: value
            for name, value in os.environ.items()
            if name not in ("DATABASE_URL", "REDIS_URL", "DJANGO_SETTINGS_MODULE", "SECRET_KEY")
        }
        return {
            **inherited,
            "OPENBELL_HOME": str(self.home),
            "PORT": str(self.port),
            "PYTHONUNBUFFERED": "1",
            **self.settings,
        }

    def __enter__(self) -> RunningPlatform:
        self.home.mkdir(parents=True, exist_ok=True)
        said_before = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "config.launcher"],
                cwd=ROOT,
                env=self.environment(),
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            self._wait_until_ready(said_before)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> int:
        """Ask it to stop, and end it if it does not; returns its exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()

    def _wait_until_ready(self, said_before: int) -> None:
        assert self.process is not None
        deadline = time.monotonic() + READY_SECONDS_MAX
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError(f"Openbell did not start:\n{self.log.read_text()[-4000:]}")
            if GREETING in self.log.read_bytes()[said_before:]:
                break
            time.sleep(0.05)
        else:
            raise TimeoutError(f"Openbell was not ready:\n{self.log.read_text()[-4000:]}")
        self.read_credentials()

    def read_credentials(self) -> None:
        """Learn the demo account's key from the file that the launcher writes."""
        for line in (self.home / "demo.env").read_text().splitlines():
            name, _, value = line.partition("=")
            self.credentials[name.strip()] = value.strip().strip("\"'")
