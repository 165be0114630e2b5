"""Whom the event log names where a command is run."""

from __future__ import annotations

import os
import pwd
import re
from pathlib import Path

import pytest

from events.commands import operator

ROOT = Path(__file__).parents[2]


@pytest.fixture
def nobody_logged_in(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> str:
        raise OSError("no login")

    monkeypatch.setattr(os, "getlogin", refuse)


def test_the_one_who_logged_in_is_named_whoever_the_process_runs_as(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "getlogin", lambda: "ada")
    monkeypatch.setattr(os, "getuid", lambda: 0)

    assert operator() == "operator:command:ada"


def test_else_the_user_of_the_process_whatever_the_environment_says(
    nobody_logged_in: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME", "SUDO_USER"):
        monkeypatch.setenv(name, "somebody-else")
    for known in pwd.getpwall()[:2]:
        monkeypatch.setattr(os, "getuid", lambda known=known: known.pw_uid)
        assert operator() == f"operator:command:{pwd.getpwuid(known.pw_uid).pw_name}"


def test_a_user_without_a_name_is_a_number(
    nobody_logged_in: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000_001)

    assert operator() == "operator:command:4000000001"


def test_it_fits_its_column(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getlogin", lambda: "a" * 200)

    assert len(operator()) == 80


def test_no_command_hides_who_ran_it() -> None:
    commands = list(ROOT.glob("*/management/commands/*.py"))
    assert len(commands) > 10

    assert not [path for path in commands if re.search(r'"operator:', path.read_text())]
