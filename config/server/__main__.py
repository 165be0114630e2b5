"""A stream process: `python -m config.server` serves WebSockets on HOST and PORT.

HTTP is answered too, so that a balancer can ask for its health.
"""

from __future__ import annotations

import os
import sys

from config.launcher import address
from config.launcher.problems import Problem, in_plain_sentences

BACKLOG = 1024


def main() -> int:
    """Returns the exit code: 0 after a clean stop, 1 where it could not start."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    try:
        with in_plain_sentences():
            serve()
    except Problem as problem:
        print(problem, file=sys.stderr)
        return 1
    return 0


def serve() -> None:
    from config import asgi, environment

    environment.read_env_file()
    listener = address.bind()
    from django.conf import settings

    from config.databases import start
    from config.observability import health
    from config.server.server import OpenbellServer
    from quotes.streaming import off_loop
    from quotes.streaming.consumers import drain

    start.check_connections(threads=settings.HTTP_THREADS, others=off_loop.THREADS)
    start.check_servers()
    listener.listen(BACKLOG)
    server = OpenbellServer(
        asgi.application,
        listener=listener,
        body_max=settings.DATA_UPLOAD_MAX_MEMORY_SIZE,
        notice_seconds=settings.DRAIN_NOTICE_SECONDS,
        when_told=health.leave,
        when_draining=drain,
    )
    try:
        server.run()
    finally:
        asgi.http.close()


if __name__ == "__main__":
    sys.exit(main())
