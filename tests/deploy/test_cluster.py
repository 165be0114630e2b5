"""The whole topology, started once: it trades, loses a process of each kind, and trades again."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.conftest import LONG, ROOT
from tests.deploy.cluster import ANSWER_SECONDS_MAX, COMMAND_SECONDS_MAX, Cluster
from tests.running import workers_of
from tests.waiting import eventually

RESTORED = "test_restored"  # a database that the cluster's user may make
PATIENCE_SECONDS = 120.0  # a process starts, or has something to tell
# 2 s of it are the lease, the rest is asking. In any case sooner than what is started again.
TAKEOVER_SECONDS_MAX = 6.0 if LONG else 30.0


def test_it_trades_and_a_second_start_changes_nothing(cluster: Cluster) -> None:
    before = cluster.pid("web1"), cluster.pid("edge")
    cluster.smoke()

    assert "already runs" in cluster.run("cluster", "up")
    assert (cluster.pid("web1"), cluster.pid("edge")) == before


def test_each_process_tells_its_metrics(cluster: Cluster) -> None:
    """Of what has traded above. Which of a pair works, and which stands by, is theirs to find."""
    eventually(lambda: cluster.told("feed", "feed_ticks_total") > 0, "ticks", PATIENCE_SECONDS)
    for kind, metric in {
        "execution": "settlement_seconds_count",
        "relay": "events_sequenced_total",
    }.items():
        wait_for_standby(cluster, kind)
        assert sum(cluster.told(f"{kind}{number}", metric) for number in (1, 2)) > 0


def wait_for_standby(cluster: Cluster, lease: str) -> None:
    eventually(lambda: f"standing by for {lease}" in cluster.log, "a standby", PATIENCE_SECONDS)


def test_a_backup_is_proven_by_reconcile_and_verify_audit(cluster: Cluster, tmp_path: Path) -> None:
    """Taken while the platform runs, as the README says: the signatures first."""
    dump, client = tool("mariadb-dump", "mysqldump"), tool("mariadb", "mysql")
    shutil.copytree(wait_for_a_signature(cluster), tmp_path / "audit")
    backup = of_the_primary(cluster, dump, "--single-transaction", "openbell")
    of_the_primary(cluster, client, f"--execute=CREATE DATABASE {RESTORED} COLLATE utf8mb4_bin")
    of_the_primary(cluster, client, RESTORED, said=backup)

    address = cluster.environment["DATABASE_URL"].removesuffix("openbell") + RESTORED
    restored = {"DATABASE_URL": address, "REPLICA_URLS": "", "AUDIT_HOME": str(tmp_path / "audit")}
    for command in ("reconcile", "verify_audit"):
        proven = subprocess.run(
            [sys.executable, "manage.py", command],
            cwd=ROOT,
            env={**os.environ, **cluster.environment, **restored},
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS_MAX,
        )
        assert proven.returncode == 0, proven.stdout + proven.stderr


def wait_for_a_signature(cluster: Cluster) -> Path:
    """The folder that it is in."""
    folder = cluster.home / "cluster" / "simulated-7" / "audit"
    file = folder / "signatures.jsonl"
    eventually(lambda: file.exists() and file.stat().st_size, "a signature", PATIENCE_SECONDS)
    return folder


def tool(*names: str) -> str:
    found = next((path for name in names if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"NO BACKUP: {names[0]} is not installed")
    return found


def of_the_primary(cluster: Cluster, command: str, *arguments: str, said: bytes = b"") -> bytes:
    """What a client program of MariaDB prints, asked with the cluster's own login."""
    at = urlsplit(cluster.environment["DATABASE_URL"])
    login = ["--no-defaults", f"--host={at.hostname}", f"--port={at.port}", f"--user={at.username}"]
    done = subprocess.run(
        [command, *login, *arguments],
        env={**os.environ, "MYSQL_PWD": str(at.password)},
        input=said,
        capture_output=True,
        timeout=COMMAND_SECONDS_MAX,
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def test_a_killed_web_process_is_noticed_by_no_reader(cluster: Cluster) -> None:
    os.kill(cluster.pid("web1"), signal.SIGKILL)
    for _ in range(20):
        with urllib.request.urlopen(f"{cluster.url}/healthz", timeout=ANSWER_SECONDS_MAX) as answer:
            assert answer.status == 200
    cluster.smoke()


def test_streams_go_on_without_a_killed_process(cluster: Cluster) -> None:
    os.kill(cluster.pid("stream1"), signal.SIGKILL)
    cluster.smoke()


def test_the_standby_takes_over_from_killed_execution(cluster: Cluster) -> None:
    wait_for_standby(cluster, "execution:0")
    standby = {cluster.pid(name) for name in ("execution1", "execution2")}
    owner = cluster.owner("execution:0")
    assert owner in standby
    os.kill(owner, signal.SIGKILL)

    def taken_over() -> bool:
        return cluster.owner("execution:0") in standby - {owner}

    eventually(taken_over, "the standby", TAKEOVER_SECONDS_MAX)
    cluster.smoke()


def test_the_relay_chains_what_was_traded(cluster: Cluster) -> None:
    """Across the kills above, the chain has no gap and every event is in it."""
    checked = subprocess.run(
        [sys.executable, "manage.py", "shell", "-c", CHAIN_IS_WHOLE],
        cwd=ROOT,
        env={**os.environ, **cluster.environment, "DJANGO_SETTINGS_MODULE": "config.settings"},
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS_MAX,
    )
    assert checked.stdout.strip().endswith("None True"), checked.stdout + checked.stderr


def test_management_commands_know_the_cluster_by_what_its_start_says(cluster: Cluster) -> None:
    """With the database, the market and the signatures of the cluster, which are of seed 7."""
    wait_for_a_signature(cluster)
    line = next(line for line in cluster.said.splitlines() if "OPENBELL_ENV_FILE=" in line)
    command = line.replace(" reconcile", " verify_audit").replace(
        ".venv/bin/python", sys.executable
    )
    checked = subprocess.run(
        ["bash", "-c", command],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS_MAX,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert re.search(r"^[1-9][0-9,]* of them are signed for", checked.stdout, re.M)


CHAIN_IS_WHOLE = """
import time
from events.chain import verify
from events.models import Event
time.sleep(1)
print(verify(), Event.objects.filter(sequence__gt=10).exists())
"""


def test_the_edge_says_503_where_no_web_process_answers(cluster: Cluster) -> None:
    """And it sends a write once: 503, never 504, for clients repeat an order on 504."""
    both = ("web1", "web2")
    eventually(lambda: all(map(cluster.is_up, both)), "web processes", PATIENCE_SECONDS)
    order = urllib.request.Request(f"{cluster.url}/v2/orders", method="POST", data=b"{}")
    with ExitStack() as nobody_starts_them:
        for name in both:
            nobody_starts_them.enter_context(cluster.unwatched(name))
            os.kill(cluster.pid(name), signal.SIGSTOP)  # or it would start another worker
            for worker in workers_of(cluster.pid(name)):
                os.kill(worker, signal.SIGKILL)
            os.kill(cluster.pid(name), signal.SIGKILL)
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(order, timeout=ANSWER_SECONDS_MAX)
    assert refused.value.code == 503
    assert refused.value.headers["Retry-After"] == "1"
    assert b"50310000" in refused.value.read()
