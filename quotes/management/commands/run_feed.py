"""manage.py run_feed: play the market that settings name, or stand by."""

from __future__ import annotations

import signal
import threading
from typing import Any

from django.core.management.base import BaseCommand

from quotes.ingest import run_feed


class Command(BaseCommand):
    help = "Plays the market that FEED, DATA, DATE, SPEED, SEED and STEPPED name."

    def handle(self, **options: Any) -> None:
        stop = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stop.set())
        run_feed(stop)
