"""manage.py run_feed: play the market that settings name, or stand by."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from events.processes import run_until_told
from quotes.ingest import run_feed


class Command(BaseCommand):
    help = "Plays the market that FEED, DATA, DATE, SPEED, SEED and STEPPED name."

    def handle(self, **options: Any) -> None:
        run_until_told(run_feed)
