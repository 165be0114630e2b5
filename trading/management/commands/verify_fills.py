"""Recompute every fill from its certificate; exit code 1 and the first wrong one if any is."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from trading.models import Fill
from trading.verification import Progress, verify_fills


class Command(BaseCommand):
    help = "Recompute every fill from its certificate and name the first that is wrong."

    def handle(self, *args: Any, **options: Any) -> None:
        total = Fill.objects.count()
        progress = Progress(0)
        for progress in verify_fills():
            if progress.wrong is not None:
                raise CommandError(f"{progress.wrong} ({progress.verified} fills before it agree)")
            self.stderr.write(f"{progress.verified:,} of {max(total, progress.verified):,} fills")
        self.stdout.write(f"{progress.verified:,} fills, all as their certificates make them")
