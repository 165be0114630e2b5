"""The processes of benchmarks/streams.py: servers, their clients, and who publishes."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from benchmarks.hot_reads import ROOT, cpu_ns, free_port, wait_for
from benchmarks.streams_figures import ENOUGH, RATE, READY, STOP, WINDOW, Shared
from benchmarks.streams_messages import SYMBOLS, write_batches

SYMBOLS_EACH = 10
IN_FLIGHT = 64  # handshakes at once
OPEN_SECONDS = 120.0
SERVER_CORE, LOAD_CORE = 1, 0
CC = os.environ.get("CC", "cc")


class Contestant(NamedTuple):
    """A server, how to publish to it, and how its clients introduce themselves."""

    name: str
    kind: str
    command: list[str]
    environment: dict[str, str]
    client: Callable[[list[str]], str]
    answers: int = 0


class Serving(NamedTuple):
    """A server that runs, alone in its session."""

    process: subprocess.Popen[bytes]
    port: int

    def cpu(self) -> int:
        return cpu_ns(self.process.pid)

    def resident(self) -> int:
        """Bytes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        [line] = [line for line in status.splitlines() if line.startswith("VmRSS:")]
        return int(line.split()[1]) * 1024


@contextmanager
def serving(contestant: Contestant) -> Iterator[Serving]:
    port = free_port()
    process = subprocess.Popen(
        [str(port) if word == "PORT" else word for word in contestant.command],
        cwd=ROOT,
        env={**os.environ, **contestant.environment, "PORT": str(port)},
        start_new_session=True,
        preexec_fn=alone_with_many_files,
    )
    try:
        wait_for(port)
        yield Serving(process, port)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def alone_with_many_files() -> None:
    os.sched_setaffinity(0, {SERVER_CORE})
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


@contextmanager
def clients(
    contestant: Contestant,
    port: int,
    count: int,
    home: Path,
    shared: Shared,
    *,
    fan: int | None = None,
) -> Iterator[None]:
    """So many clients of streams_load.c, all of them subscribed.

    With a `fan`, of how many want each tick, they can publish as well.
    """
    command = [str(home / "load"), str(port), str(shared.path)]
    command += [str(IN_FLIGHT), str(contestant.answers)]
    if fan is not None and contestant.kind != "channels":
        batches = home / "batches"
        write_batches(contestant.kind, batches)
        redis_port = os.environ["REDIS_URL"].rpartition(":")[2].partition("/")[0]
        command += [str(batches), redis_port, str(fan)]
    lines = [contestant.client(symbols_of(number)) for number in range(count)]
    told = home / "clients"
    told.write_text("\n".join(lines))
    with told.open("rb") as file:
        process = subprocess.Popen(command, stdin=file)
    try:
        deadline = time.monotonic() + OPEN_SECONDS
        while shared[READY] < count:
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"{contestant.name}: {shared[READY]} of {count} sockets opened")
            time.sleep(0.01)
        yield
    finally:
        shared.set(STOP, 1)
        process.wait(10)


def symbols_of(client: int) -> list[str]:
    """Ten symbols, so that each is wanted by as many clients."""
    step = len(SYMBOLS) // SYMBOLS_EACH
    return [SYMBOLS[(client + n * step) % len(SYMBOLS)] for n in range(SYMBOLS_EACH)]


@contextmanager
def publishing(
    kind: str, fan: int, shared: Shared, *, window: int = 0, rate: int = 0
) -> Iterator[None]:
    """So many messages under way at most, or so many a second."""
    command = [sys.executable, "-m", "benchmarks.streams_publisher", str(shared.path)]
    command += ["--fan", str(fan), "--window", str(window)]
    process = subprocess.Popen(command, cwd=ROOT) if kind == "channels" else None
    shared.set(WINDOW, window)
    shared.set(RATE, rate)
    try:
        yield
    finally:
        shared.set(ENOUGH, 1)
        if process is not None:
            process.wait(10)


def compiled(program: Path, *sources: Path) -> None:
    subprocess.run([CC, "-O2", "-o", str(program), *map(str, sources)], check=True)
