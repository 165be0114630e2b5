"""Start the whole platform in this process; Ctrl-C or SIGTERM stops it."""

from __future__ import annotations

import logging
import os
import socket
import sys
import threading
from typing import TYPE_CHECKING

from config import environment
from config.launcher import address, home
from config.launcher.problems import Problem, in_plain_sentences

if TYPE_CHECKING:
    from config.launcher.demo import Demo

logger = logging.getLogger(__name__)

BACKLOG = 1024  # connections that may wait to be accepted: a whole classroom reconnecting


def main() -> int:
    """Returns the exit code: 0 after a clean stop, 1 where it could not start."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    try:
        with in_plain_sentences():
            environment.read_env_file()
            listener = address.bind()
            address.allow_own_names()
            home.prepare(environment.home())
            start(listener)
    except Problem as problem:
        print(problem, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped before it was open.")
        return 130
    return 0


def start(listener: socket.socket) -> None:
    """Prepare everything, serve until told to stop, and take it all down again."""
    import django

    django.setup()
    # Only now: these import models.
    from django.conf import settings

    from config.launcher import demo, market, static

    with home.occupy(settings.MARKET_HOME):
        market.migrate()
        market.open_with_past()
        credentials = demo.prepare(settings.MARKET_HOME)
        static.collect_if_changed()
        serve(listener, credentials)


def serve(listener: socket.socket, credentials: Demo) -> None:
    """Serve HTTP, sockets and the market until told to stop."""
    from django.conf import settings

    from config import asgi
    from config.launcher.background import Background
    from config.launcher.banner import example_symbol, greet
    from config.observability import health
    from config.server.server import OpenbellServer
    from quotes.streaming.consumers import drain

    background = Background(settings.BACKGROUND_PROCESSES)
    url, symbol = address.public_url(listener), example_symbol()

    def open_the_doors() -> None:
        if not background.wait_for_market():
            logger.warning("the market has not begun yet; orders wait for its first quote")
        greet(url, credentials, symbol)

    def when_ready() -> None:
        background.start()
        threading.Thread(target=open_the_doors, name="greeting", daemon=True).start()

    listener.listen(BACKLOG)
    server = OpenbellServer(
        asgi.application,
        listener=listener,
        body_max=settings.DATA_UPLOAD_MAX_MEMORY_SIZE,
        when_ready=when_ready,
        when_told=health.leave,
        when_draining=drain,
    )
    try:
        server.run()
    finally:
        print("Stopping …", flush=True)
        background.stop()
        asgi.http.close()
    print("Stopped.", flush=True)


if __name__ == "__main__":
    sys.exit(main())
