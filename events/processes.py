"""A process of its own: it looks at what it stands on, and then runs until it is told to stop."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import CommandError
from django.utils.module_loading import import_string


def run_until_told(run: Callable[[threading.Event], None]) -> None:
    """Run a loop until SIGINT or SIGTERM. Raises CommandError where START_CHECK finds a problem."""
    try:
        import_string(settings.START_CHECK)()
    except ImproperlyConfigured as error:
        raise CommandError(str(error)) from error
    stop = threading.Event()
    for interruption in (signal.SIGINT, signal.SIGTERM):
        signal.signal(interruption, lambda *_: stop.set())
    run(stop)
