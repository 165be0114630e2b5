"""Whichever worker a collector meets, it is told what all of them have counted."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("gunicorn", reason="NO GUNICORN: the production set is not installed")

from tests.config.server.web import ROOT, Web, running
from tests.running import line_of, workers_of

PATIENCE_SECONDS = 60


def test_what_a_worker_has_counted_outlives_it(tmp_path: Path) -> None:
    """Twenty answers; then every worker is killed, and another tells of the twenty."""
    told = {"DJANGO_SETTINGS_MODULE": "config.settings", "OPENBELL_HOME": str(tmp_path)}
    told |= {"SECRET_KEY": "only-for-this-test", "WEB_WORKERS": "2", "DATABASE_URL": ""}
    (tmp_path / "simulated-1").mkdir()
    migrate = [sys.executable, "manage.py", "migrate", "--verbosity=0"]
    subprocess.run(migrate, cwd=ROOT, env={**os.environ, **told}, check=True)
    with running("config.wsgi:application", **told) as web:
        for _ in range(20):
            assert web.ask("/v2/nothing").status == 404
        first = workers(web)
        for worker in first:
            os.kill(worker, signal.SIGKILL)
        wait_for_others(web, first)

        said = web.ask("/metrics").body.decode()
        assert re.search(r'^openbell_answers_total{method="GET",status="404"} 20\.0$', said, re.M)
        folder = shared_folder(web)
        assert folder.is_dir()
        web.process.terminate()
        web.process.wait(PATIENCE_SECONDS)
    assert not folder.exists()


def test_what_a_killed_master_left_is_removed_by_the_next_and_no_other(tmp_path: Path) -> None:
    said = "import os, config.server.gunicorn_settings; print(os.environ[%r], flush=True); input()"
    told = os.environ | {"OPENBELL_HOME": str(tmp_path), "WEB_WORKERS": "2"}
    masters: list[subprocess.Popen[str]] = []

    def folder_of_another() -> Path:
        command = [sys.executable, "-c", said % "PROMETHEUS_MULTIPROC_DIR"]
        another = subprocess.Popen(
            command, cwd=ROOT, env=told, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        masters.append(another)
        folder = line_of(another).strip()
        assert folder, "it ended before it told its folder"
        return Path(folder)

    try:
        killed, lives = folder_of_another(), folder_of_another()
        assert killed.is_dir()
        masters[0].kill()
        masters[0].wait(PATIENCE_SECONDS)
        last = folder_of_another()

        assert [each.is_dir() for each in (killed, lives, last)] == [False, True, True]
    finally:
        for master in masters:
            master.communicate("\n", PATIENCE_SECONDS)
    assert not lives.exists()
    assert not last.exists()


def workers(web: Web) -> set[int]:
    return set(workers_of(web.process.pid))


def wait_for_others(web: Web, first: set[int]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while workers(web) & first or not workers(web):
        assert time.monotonic() < deadline, "no other worker came"
        time.sleep(0.05)


def shared_folder(web: Web) -> Path:
    """Where a worker counts: its files are mapped into it."""
    maps = Path(f"/proc/{workers(web).pop()}/maps").read_text()
    found = re.search(r"(\S+/openbell-metrics-[^/]+)/", maps)
    assert found is not None
    return Path(found[1])
