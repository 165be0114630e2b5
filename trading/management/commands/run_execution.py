"""Match orders against ticks and settle their fills, until interrupted."""

from __future__ import annotations

import threading
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from events.processes import run_until_told
from trading.execution.process import collect_rarely, run_execution
from trading.execution.shards import CannotShare, refuse_other_numbers


class Command(BaseCommand):
    help = "Match orders against ticks and settle their fills, until interrupted."

    def handle(self, *args: Any, **options: Any) -> None:
        run_until_told(_run)


def _run(stop: threading.Event) -> None:
    try:
        refuse_other_numbers(settings.EXECUTION_SHARDS)
    except CannotShare as problem:
        raise CommandError(str(problem)) from problem
    collect_rarely()
    run_execution(stop)
