"""A process of its own: it looks at what it stands on, and then runs until it is told to stop.

Meanwhile it tells a collector its metrics, at http://METRICS_HOST:METRICS_PORT/metrics.
"""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import CommandError
from django.utils.module_loading import import_string
from prometheus_client import start_http_server

log = logging.getLogger(__name__)


def run_until_told(run: Callable[[threading.Event], None]) -> None:
    """Run a loop until SIGINT or SIGTERM.

    Raises CommandError where START_CHECK finds a problem.
    """
    try:
        import_string(settings.START_CHECK)()
    except ImproperlyConfigured as error:
        raise CommandError(str(error)) from error
    stop = threading.Event()
    with _metrics_told():
        for interruption in (signal.SIGINT, signal.SIGTERM):
            signal.signal(interruption, lambda *_: stop.set())
        run(stop)


@contextmanager
def _metrics_told() -> Iterator[None]:
    if not settings.METRICS_PORT:
        yield
        return
    try:
        server, _ = start_http_server(settings.METRICS_PORT, settings.METRICS_HOST)
    except OSError as error:
        # No reason to stop the only feed.
        log.error(
            "metrics cannot be told at %s, port %d: %s; METRICS_PORT has to be another one for "
            "each process",
            settings.METRICS_HOST,
            settings.METRICS_PORT,
            error.strerror or error,
        )
        yield
        return
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
