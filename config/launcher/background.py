"""Feed, execution and relay in the embedded process: a thread each, watched and started again."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence

from django.db import connections
from django.utils.module_loading import import_string

from quotes.clock import market_clock

logger = logging.getLogger(__name__)

BACK_OFF_SECONDS = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
WELL_AFTER_SECONDS = 60.0  # having run so long, the next crash is the first again
STOP_SECONDS_MAX = 8.0
MARKET_SECONDS_MAX = 20.0  # a recorded day is unpacked first
LOOK_SECONDS = 0.02

Run = Callable[[threading.Event], None]


class Background:
    """The loops that `BACKGROUND_PROCESSES` names, running until told to stop."""

    def __init__(self, paths: Sequence[str]) -> None:
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(
                target=supervise,
                args=(path, import_string(path), self._stop),
                name=path.rpartition(".")[2],
                daemon=True,  # one that hangs must not keep the process from ending
            )
            for path in paths
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def wait_for_market(self) -> bool:
        """Wait until the feed has spoken, so that whoever is told to come in can trade."""
        deadline = time.monotonic() + MARKET_SECONDS_MAX
        while market_clock().feed_is_silent() and time.monotonic() < deadline:
            if self._stop.wait(LOOK_SECONDS):
                return False
        return not market_clock().feed_is_silent()

    def stop(self) -> bool:
        """Ask all to finish and wait for them; False when one did not in time."""
        self._stop.set()
        deadline = time.monotonic() + STOP_SECONDS_MAX
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(max(0.0, deadline - time.monotonic()))
        late = [thread.name for thread in self._threads if thread.is_alive()]
        if late:
            logger.error("%s did not stop in time; nothing acknowledged is lost", ", ".join(late))
        return not late


def supervise(name: str, run: Run, stop: threading.Event) -> None:
    """Run a loop until `stop`; after a crash start it again, later each time."""
    crashes = 0
    while not stop.is_set():
        started = time.monotonic()
        try:
            run(stop)
        except Exception:
            logger.exception("%s crashed", name)
        else:
            if not stop.is_set():
                logger.error("%s ended without being asked to", name)
        finally:
            connections.close_all()
        if time.monotonic() - started > WELL_AFTER_SECONDS:
            crashes = 0
        stop.wait(BACK_OFF_SECONDS[min(crashes, len(BACK_OFF_SECONDS) - 1)])
        crashes += 1
