"""A whole cluster for tests, driven as `make` drives it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.running import free_port, stopped

SERVERS = ("mariadbd", "redis-server", "nginx")
COMMAND_SECONDS_MAX = 400.0
ANSWER_SECONDS_MAX = 30.0


def skip_without_servers() -> None:
    """Skip, loudly, where a cluster cannot be started."""
    path = os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/usr/local/sbin"])
    missing = [server for server in SERVERS if not shutil.which(server, path=path)]
    if missing:
        pytest.skip(f"NO CLUSTER: {', '.join(missing)} not installed")
    pytest.importorskip("MySQLdb", reason="NO CLUSTER: the production set is not installed")


class Cluster:
    """A cluster with a home and a port of its own, driven as `make` drives it."""

    def __init__(self, home: Path, **settings: str) -> None:
        self.home = home
        self._settings = settings
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.said = ""  # when it started

    def run(self, command: str, *arguments: str, fine: bool = True) -> str:
        inherited = {
            name: value
            for name, value in os.environ.items()
            if name not in ("DATABASE_URL", "REDIS_URL", "SECRET_KEY", "DJANGO_SETTINGS_MODULE")
        }
        done = subprocess.run(
            [sys.executable, "-m", f"deploy.local.{command}", *arguments],
            cwd=ROOT,
            env={
                **inherited,
                **self._settings,
                "OPENBELL_HOME": str(self.home),
                "PORT": str(self.port),
            },
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS_MAX,
        )
        assert not fine or done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def smoke(self) -> None:
        assert "All is well" in self.run("smoke", self.url)

    def pid(self, name: str) -> int:
        return int((self.home / "cluster" / "run" / f"{name}.pid").read_text())

    @contextmanager
    def unwatched(self, name: str) -> Iterator[None]:
        """What dies of this name within the block is started again after it, and not before."""
        watcher = Path(f"/proc/{self.pid(name)}/stat").read_text().rpartition(")")[2].split()[1]
        with stopped(int(watcher)):
            yield

    def is_up(self, name: str) -> bool:
        return re.search(rf"{name} +up", self.run("cluster", "status")) is not None

    @property
    def environment(self) -> dict[str, str]:
        """What its processes were told."""
        lines = (self.home / "cluster" / "cluster.env").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines)

    def told(self, process: str, metric: str) -> float:
        """The sum of a metric that a process tells, over its labels."""
        url = f"http://127.0.0.1:{self.environment[f'{process.upper()}_PORT']}/metrics"
        with urllib.request.urlopen(url, timeout=ANSWER_SECONDS_MAX) as answer:
            found = re.findall(
                rf"^openbell_{metric}(?:{{.*}})? (.+)$", answer.read().decode(), re.M
            )
        return sum(map(float, found))

    @property
    def log(self) -> str:
        return (self.home / "cluster" / "cluster.log").read_text(errors="replace")

    def owner(self, lease: str) -> int | None:
        found = re.search(rf"{lease} +is owned by process (\d+)", self.run("cluster", "status"))
        return int(found[1]) if found else None

    def processes(self) -> list[str]:
        """Command lines of whatever runs with this home."""
        mark = f"OPENBELL_HOME={self.home / 'cluster'}".encode()
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if mark in (folder / "environ").read_bytes().split(b"\0"):
                    found.append((folder / "cmdline").read_text().replace("\0", " "))
            except OSError:
                continue
        return found
