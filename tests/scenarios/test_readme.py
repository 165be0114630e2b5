"""The README, followed to the letter by somebody who has just cloned the repository."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from django.core.management import get_commands

from tests.running import GREETING, ROOT, RunningPlatform

INSTALL_AND_START_SECONDS_MAX = 300
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


COMMANDS = [line for block in blocks("sh") for line in block.splitlines() if line]


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What somebody gets who clones what is committed, and nothing that was installed here."""
    folder = tmp_path_factory.mktemp("clone") / "openbell"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True)
    return folder


@contextmanager
def started(command: str, clone: Path, home: Path) -> Iterator[RunningPlatform]:
    """The command, typed in the clone; once it is ready. It is interrupted as Ctrl-C does."""
    platform = RunningPlatform(home)
    home.mkdir()
    with platform.log.open("wb") as log:
        process = subprocess.Popen(
            command.split(),
            cwd=clone,
            env=platform.environment(),
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        wait_until_ready(platform, process)
        platform.read_credentials()
        yield platform
    finally:
        os.killpg(process.pid, signal.SIGINT)
        process.wait(30)
    assert "Stopped." in platform.log.read_text()


def wait_until_ready(platform: RunningPlatform, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + INSTALL_AND_START_SECONDS_MAX
    while time.monotonic() < deadline:
        assert process.poll() is None, platform.log.read_text()
        if GREETING in platform.log.read_bytes():
            return
        time.sleep(0.1)
    raise AssertionError(platform.log.read_text())


def test_no_command_of_the_readme_is_left_untried() -> None:
    # `make test` runs this very test; tests/deploy drives what the three about the cluster call.
    tried = {"make run", "make test", "make cluster", "make smoke", "make cluster-down"}
    assert {" ".join(command.split()[:2]) for command in COMMANDS} <= tried


@pytest.mark.parametrize("command", [each for each in COMMANDS if each.startswith("make run")])
def test_a_newcomer_runs_it_and_trades(
    command: str, clone: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if "FEED=lean" in command:
        data = request.getfixturevalue("lean_data")
        command = command.replace("DATA=../shared/lean", f"DATA={data}")
    with started(command, clone, tmp_path / "home") as platform:
        if "FEED=lean" not in command:
            (example,) = blocks("python")
            said = subprocess.run(
                [sys.executable, "-c", filled_in(example, platform)],
                capture_output=True,
                text=True,
                timeout=60,
            )
            assert said.returncode == 0, said.stderr
        assert "TradingClient" in platform.log.read_text()


def filled_in(example: str, platform: RunningPlatform) -> str:
    return (
        example.replace("KEY,", f'"{platform.key}",')
        .replace("SECRET,", f'"{platform.secret}",')
        .replace("http://127.0.0.1:8000", platform.url)
    )


def test_the_commands_it_mentions_exist() -> None:
    mentioned = set(re.findall(r"manage\.py\s+(\w+)", README))

    assert {"reconcile", "announce_action", "export_events"} <= mentioned
    assert mentioned <= get_commands().keys()


def test_it_names_what_make_test_installs() -> None:
    script = (ROOT / "deploy" / "local" / "test.sh").read_text()
    found = re.search(r'^PACKAGES="([^"]+)"', script, re.MULTILINE)
    assert found is not None
    words = {
        **{"mariadb-server": "MariaDB", "redis-server": "Redis", "nginx-light": "nginx"},
        **{"chromium": "Chromium", "gcc": "a compiler", "pkg-config": "a compiler"},
        **{"default-libmysqlclient-dev": "headers", "python3-dev": "headers"},
    }
    (sentence,) = re.findall(r"it installs ([^;]+);", README)

    assert [word for word in found[1].split() if words[word] not in sentence] == []
    assert ("nodejs" in script) == ("Node" in sentence)


def test_it_names_the_process_that_tells_no_metrics() -> None:
    """A process of ours does so at a port of its own, which the Procfile gives it."""
    lines = (ROOT / "deploy" / "local" / "Procfile").read_text().splitlines()
    without = [
        line.partition(":")[0] for line in lines if "$PYTHON" in line and "PORT=" not in line
    ]

    assert without == re.findall(r"Each of Openbell's processes but `(\w+)`", README)
