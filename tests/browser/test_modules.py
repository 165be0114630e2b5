"""The screen's pure modules, tested where they run: `node --test` on the files beside this one."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
# The first release lines that take a plain .js file for the ES module it is.
NODE_LEAST = {20: 19, 22: 7}
TIMEOUT_SECONDS = 120


@pytest.fixture(scope="module")
def node() -> str:
    beside_python = FOLDER.parent.parent / ".venv" / "bin" / "node"
    found = shutil.which("node") or (str(beside_python) if beside_python.exists() else None)
    if found is None:
        pytest.skip("NO NODE: the screen's modules are not tested (make test brings it)")
    version = subprocess.run([found, "--version"], capture_output=True, text=True, check=True)
    major, minor = map(int, re.findall(r"\d+", version.stdout)[:2])
    if major < 20 or minor < NODE_LEAST.get(major, 0):
        pytest.skip(
            f"NODE {version.stdout.strip()} IS TOO OLD: the screen's modules are not tested"
        )
    return found


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.test.mjs")), ids=lambda file: file.name)
def test_modules_pass_their_own_tests(node, file):
    run = subprocess.run(
        [node, "--no-warnings", "--test", str(file)],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )

    assert run.returncode == 0, run.stdout + run.stderr
