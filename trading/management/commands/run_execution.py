"""Match orders against ticks and settle their fills, until interrupted."""

from __future__ import annotations

import signal
import threading
from typing import Any

from django.core.management.base import BaseCommand

from trading.execution.process import run_execution


class Command(BaseCommand):
    help = "Match orders against ticks and settle their fills, until interrupted."

    def handle(self, *args: Any, **options: Any) -> None:
        stop = threading.Event()
        for interruption in (signal.SIGINT, signal.SIGTERM):
            signal.signal(interruption, lambda *_: stop.set())
        run_execution(stop)
