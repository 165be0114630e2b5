"""What make hands on to what it starts."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from tests.conftest import ROOT


def environment_of(*said: str) -> set[str]:
    """The environment of a recipe when that is said on the command line."""
    inherited = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    done = subprocess.run(
        ["make", "--no-print-directory", "-f", "-", "environment", *said],
        cwd=ROOT,
        input="include Makefile\nenvironment: ; @env\n",
        env=inherited,
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    return set(done.stdout.splitlines())


@pytest.mark.skipif(shutil.which("make") is None, reason="NO MAKE")
def test_settings_are_handed_on_where_they_are_said() -> None:
    assert not [line for line in environment_of() if line.startswith(("PORT", "HOST", "FEED"))]
    assert {"PORT=9000", "FEED=lean"} <= environment_of("PORT=9000", "FEED=lean")
