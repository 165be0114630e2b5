"""How long `make run` and `make cluster` take to be ready, the first time and after that.

    python -m benchmarks.start                 # make run
    python -m benchmarks.start --cluster       # make cluster: MariaDB with two replicas, and all

The cluster's seconds are those of the command, which returns when every process answers and every
shard has an owner. Beside them stands the CPU time that all its processes have used by then: what a
busy machine does not change.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from tests.deploy.cluster import Cluster
from tests.running import RunningPlatform

TICKS = os.sysconf("SC_CLK_TCK")


class Start(NamedTuple):
    """Seconds from the command until it is ready."""

    wall: float
    cpu: float = 0.0

    def __str__(self) -> str:
        return f"{self.wall:.2f} s" + (f", {self.cpu:.1f} s of CPU" if self.cpu else "")


def start(home: Path) -> Start:
    """`make run`, to the first answer."""
    started = time.monotonic()
    with RunningPlatform(home):
        return Start(time.monotonic() - started)


def start_cluster(home: Path) -> Start:
    """`make cluster`, and down again."""
    cluster = Cluster(home)
    started, waited_for = time.monotonic(), _children()
    try:
        cluster.run("cluster", "up")
        seconds = time.monotonic() - started
        return Start(seconds, _children() - waited_for + _running(home))
    finally:
        cluster.run("cluster", "down")


def _children() -> float:
    """CPU seconds of the ended processes that this one has started."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _running(home: Path) -> float:
    """CPU seconds of what runs with this home, and of what those processes have waited for."""
    ticks = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"OPENBELL_HOME={home}".encode() in (folder / "environ").read_bytes():
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                ticks += sum(map(int, fields[11:15]))
        except OSError:
            continue
    return ticks / TICKS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--starts", type=int, default=5, help="starts after the first one")
    parser.add_argument("--cluster", action="store_true", help="make cluster, not make run")
    arguments = parser.parse_args()
    started = start_cluster if arguments.cluster else start
    with tempfile.TemporaryDirectory(prefix="openbell-") as home:
        print(f"first start: {started(Path(home))}")
        later = [started(Path(home)) for _ in range(arguments.starts)]
    seconds = [one.wall for one in later]
    print(
        f"later starts: median {Start(*map(statistics.median, zip(*later, strict=True)))};"
        f" {min(seconds):.2f} to {max(seconds):.2f} s over {len(later)}"
    )


if __name__ == "__main__":
    main()
