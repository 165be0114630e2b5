"""The commands that are processes of their own."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command

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


@pytest.mark.parametrize("command", ["run_feed", "run_execution", "run_relay"])
def test_a_process_says_that_it_cannot_tell_its_metrics(settings: Any, command: str) -> None:
    settings.START_CHECK = f"{__name__}.find_nothing"
    with socket.create_server(("127.0.0.1", 0)) as somebody:
        settings.METRICS_PORT = somebody.getsockname()[1]

        with pytest.raises(CommandError, match=f"port {settings.METRICS_PORT}.*METRICS_PORT has"):
            call_command(command)


def find_nothing() -> None:
    pass
