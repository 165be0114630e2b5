"""The commands that are processes of their own."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command

from events import processes

SENTENCE = "The primary is not what the settings say."


def find_a_problem() -> None:
    raise ImproperlyConfigured(SENTENCE)


@pytest.mark.parametrize("command", ["run_feed", "run_execution", "run_relay"])
def test_a_process_does_not_begin_where_the_start_check_finds_a_problem(
    settings: Any, command: str
) -> None:
    settings.START_CHECK = f"{__name__}.find_a_problem"

    with pytest.raises(CommandError, match=SENTENCE):
        call_command(command)


def test_a_process_that_cannot_tell_its_metrics_says_so_and_runs(
    settings: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes.signal, "signal", lambda *_: None)  # they are this process's
    settings.START_CHECK = f"{__name__}.find_nothing"
    ran = []
    with socket.create_server(("127.0.0.1", 0)) as somebody:
        settings.METRICS_PORT = somebody.getsockname()[1]
        processes.run_until_told(ran.append)

    assert len(ran) == 1
    assert f"port {settings.METRICS_PORT}: Address already in use; METRICS_PORT has" in caplog.text


def find_nothing() -> None:
    pass
