"""Match orders against ticks and settle their fills, until interrupted."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from events.processes import run_until_told
from trading.execution.process import run_execution


class Command(BaseCommand):
    help = "Match orders against ticks and settle their fills, until interrupted."

    def handle(self, *args: Any, **options: Any) -> None:
        run_until_told(run_execution)
