"""Number and chain committed events until interrupted, or stand by."""

from __future__ import annotations

import signal
import threading
from typing import Any

from django.core.management.base import BaseCommand

from events.relay import run_relay


class Command(BaseCommand):
    help = "Number and chain committed events until interrupted, or stand by."

    def handle(self, *args: Any, **options: Any) -> None:
        stop = threading.Event()
        for interruption in (signal.SIGINT, signal.SIGTERM):
            signal.signal(interruption, lambda *_: stop.set())
        run_relay(stop)
