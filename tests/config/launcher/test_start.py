"""`make run`, as a process: first start, second start, the ways it may fail, the end."""

from __future__ import annotations

import re
import socket
import stat
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.running import ROOT, RunningPlatform


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("openbell")


@pytest.fixture(scope="module")
def first_start(home) -> str:
    """What a first start prints, once it has stopped again."""
    with RunningPlatform(home) as platform:
        with urllib.request.urlopen(f"{platform.url}/login") as page:
            assert page.status == 200
            styles = re.findall(r'href="(/static/[^"]+\.css)"', page.read().decode())
        assert styles
        with urllib.request.urlopen(platform.url + styles[0]) as style:
            assert "immutable" in style.headers["Cache-Control"]
        assert platform.stop() == 0
    return platform.log.read_text()


def start_and_fail(home: Path, **variables: str) -> str:
    """What a start says that cannot succeed."""
    done = subprocess.run(
        [sys.executable, "-m", "config.launcher"],
        cwd=ROOT,
        env=RunningPlatform(home, settings=variables).environment(),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    return done.stderr.strip()


def test_a_first_start_says_all_one_needs(first_start, home):
    written = (home / "demo.env").read_text()
    key = re.search("APCA_API_KEY_ID=(.*)", written)
    assert key is not None
    for said in ("Address", "Login", "Password", key[1], "TradingClient", "Ctrl-C stops it"):
        assert said in first_start
    assert "50 of 50 instruments" in first_start


def test_it_ends_without_a_complaint(first_start):
    assert first_start.rstrip().endswith("Stopped.")
    assert "Traceback" not in first_start
    assert "ERROR" not in first_start


def test_the_key_is_for_the_owner_only(first_start, home):
    for file in (home / "demo.env", home / "secret-key", home / "simulated-1" / "demo.env"):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_second_start_finds_everything(first_start, home):
    before = (home / "simulated-1" / "demo.env").read_text()

    with RunningPlatform(home) as platform:
        assert (home / "simulated-1" / "demo.env").read_text() == before
        assert platform.url in (home / "demo.env").read_text()

        other = start_and_fail(home, PORT="0")
        assert other.startswith("Openbell already runs in ")


def test_a_port_in_use_is_one_plain_sentence(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        said = start_and_fail(tmp_path, PORT=str(port))

    assert said.startswith(f"Openbell cannot listen on 127.0.0.1, port {port}: ")
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({"FEED": "lean"}, "FEED=lean replays a recorded day"),
        ({"FEED": "lean", "DATA": "/nowhere", "DATE": "2013-10-07"}, "/nowhere"),
        ({"FEED": "lean", "DATA": "/nowhere", "DATE": "yesterday"}, "DATE"),
        ({"DATABASE_URL": "postgres://u:p@h/db"}, "DATABASE_URL"),
        ({"PORT": "eighty"}, "PORT=8000"),
        ({"SEED": "x"}, "SEED=1"),
    ],
)
def test_a_wrong_setting_is_a_plain_sentence(tmp_path, variables, sentence):
    said = start_and_fail(tmp_path, **{"PORT": "0", **variables})

    assert sentence in said
