"""The folder of all state: private, and used by one platform at a time."""

from __future__ import annotations

import os
import stat

import pytest

from config.launcher import home
from config.launcher.problems import Problem


def test_the_secret_is_made_once_and_for_the_owner_only(tmp_path):
    folder = tmp_path / "new" / "home"
    home.prepare(folder)
    first = (folder / "secret-key").read_text()
    home.prepare(folder)

    assert (folder / "secret-key").read_text() == first
    assert len(first) > 50
    assert stat.S_IMODE(os.stat(folder / "secret-key").st_mode) == 0o600
    assert stat.S_IMODE(os.stat(folder).st_mode) == 0o700


def test_a_home_that_cannot_be_made_is_a_plain_sentence(tmp_path):
    (tmp_path / "file").write_text("")

    with pytest.raises(Problem, match="OPENBELL_HOME cannot be used"):
        home.prepare(tmp_path / "file" / "home")


def test_a_private_file_replaces_an_open_one(tmp_path):
    file = tmp_path / "demo.env"
    file.write_text("old")
    file.chmod(0o644)

    home.write_private(file, "new")

    assert file.read_text() == "new"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [file]


def test_a_second_platform_in_the_same_home_is_refused(tmp_path):
    with home.occupy(tmp_path), pytest.raises(Problem, match=f"process {os.getpid()}"):
        home.occupy(tmp_path)

    home.occupy(tmp_path).close()  # the first is gone
