"""What installing leaves behind on the machine: nothing, also where it is broken off."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from pathlib import Path

import pytest

from tests.conftest import ROOT

PATIENCE_SECONDS = 30
# With an apt-get of its own: says what the policy is, and then hangs or fails.
INSTALL = """
. deploy/local/machine.sh
POLICY=$1
as_root() { "$@"; }
apt-get() { cat "$POLICY"; echo begun; [ "$THEN" = fail ] && return 1; read -r; }
env() { shift; "$@" >&2; }
set -e
apt_install a-server
"""


def installing(policy: Path, then: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        ["bash", "-c", INSTALL, "install", str(policy)],
        cwd=ROOT,
        env={**os.environ, "THEN": then},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # as a terminal's foreground job, which Ctrl-C is sent to
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_servers_of_debian_start_again_once_an_installation_is_broken_off(
    tmp_path: Path, number: signal.Signals
) -> None:
    policy = tmp_path / "policy-rc.d"
    process = installing(policy, "hang")
    assert process.stderr is not None
    last_resort = threading.Timer(PATIENCE_SECONDS, os.killpg, (process.pid, signal.SIGKILL))
    last_resort.start()
    while "begun" not in (line := process.stderr.readline()):
        assert line, "it ended before it installed"
    last_resort.cancel()
    assert "exit 101" in policy.read_text()
    os.killpg(process.pid, number)
    process.communicate(timeout=PATIENCE_SECONDS)

    assert process.returncode not in (0, None)
    assert not policy.exists()


def test_a_failed_installation_says_so_and_leaves_nothing(tmp_path: Path) -> None:
    policy = tmp_path / "policy-rc.d"
    process = installing(policy, "fail")
    process.communicate(timeout=PATIENCE_SECONDS)

    assert process.returncode == 1
    assert not policy.exists()


def test_a_policy_of_the_machine_s_own_stays(tmp_path: Path) -> None:
    policy = tmp_path / "policy-rc.d"
    policy.write_text("#!/bin/sh\nexit 104\n")
    process = installing(policy, "fail")
    process.communicate(timeout=PATIENCE_SECONDS)

    assert policy.read_text() == "#!/bin/sh\nexit 104\n"
