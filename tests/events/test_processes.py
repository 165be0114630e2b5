"""The commands that are processes of their own."""

from __future__ import annotations

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
