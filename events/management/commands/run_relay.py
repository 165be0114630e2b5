"""Number and chain committed events until interrupted, or stand by."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from events.processes import run_until_told
from events.relay import run_relay


class Command(BaseCommand):
    help = "Number and chain committed events until interrupted, or stand by."

    def handle(self, *args: Any, **options: Any) -> None:
        run_until_told(run_relay)
