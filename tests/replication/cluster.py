"""A real primary with two replicas, and the hands that hurt them."""

from __future__ import annotations

import os
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "deploy" / "local" / "replicas.sh"
PRIMARY, FIRST, SECOND = 0, 1, 2
START_SECONDS_MAX = 400.0  # of three servers, each with a folder to fill
STOP_SECONDS_MAX = 120.0


@dataclass
class Cluster:
    """The servers that deploy/local/replicas.sh starts in a folder."""

    folder: Path
    hurt: bool = False  # somebody has laid hands on it since it was well

    def start(self) -> dict[str, str]:
        """Bring up whatever is down; DATABASE_URL and REPLICA_URLS."""
        done = subprocess.run(
            [SCRIPT, "start", self.folder],
            capture_output=True,
            text=True,
            timeout=START_SECONDS_MAX,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return dict(line.split("=", 1) for line in done.stdout.splitlines() if "_URL" in line)

    def stop(self) -> None:
        subprocess.run([SCRIPT, "stop", self.folder], timeout=STOP_SECONDS_MAX, check=False)

    def sql(self, node: int, statement: str) -> str:
        """Run a statement as root on one server."""
        self.hurt = True
        command = ["mariadb", "--no-defaults", "--user=root", "--batch", "--skip-column-names"]
        done = subprocess.run(
            [*command, f"--socket={self.folder}/{node}.sock", "--execute", statement],
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
        return done.stdout.strip()

    def signal(self, node: int, number: signal.Signals) -> None:
        self.hurt = True
        os.kill(int((self.folder / f"{node}.pid").read_text()), number)

    def heal(self) -> None:
        """Undo whatever a test has done."""
        if not self.hurt:
            return
        for node in (PRIMARY, FIRST, SECOND):
            try:
                self.signal(node, signal.SIGCONT)
            except (OSError, ValueError):
                continue  # it is dead, and started again below
        undelayed = [self._undelay(node) for node in (FIRST, SECOND)]
        self.start()
        for node, done in zip((FIRST, SECOND), undelayed, strict=True):
            self.sql(node, "SET GLOBAL read_only = 1")
            if not done:
                self.delay(node, 0)
        self.hurt = False

    def _undelay(self, node: int) -> bool:
        """Before anybody waits for it to catch up; not where it is down."""
        try:
            self.delay(node, 0)
        except subprocess.CalledProcessError:
            return False
        return True

    def delay(self, node: int, seconds: int) -> None:
        """Have a replica apply everything so much later."""
        self.sql(node, f"STOP SLAVE; CHANGE MASTER TO MASTER_DELAY = {seconds}; START SLAVE")
