"""Write the event log to standard output, one JSON object a line, from where it was left."""

from __future__ import annotations

import signal
import threading
from typing import Any

import orjson
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.forms import model_to_dict

from events import cursors
from events.models import Event


class Command(BaseCommand):
    help = (
        "Write chained events as JSON lines, from where the cursor of that name was left. At least "
        "once: whoever is killed writes its last lines again; `sequence` tells."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("cursor", metavar="CURSOR", help="who reads: a name of your own")
        parser.add_argument(
            "--after", type=int, metavar="SEQUENCE", help="begin behind this event instead"
        )
        parser.add_argument(
            "--follow", action="store_true", help="go on with what is chained, until interrupted"
        )

    def handle(
        self, *args: Any, cursor: str, after: int | None, follow: bool, **options: Any
    ) -> None:
        if after is not None:
            cursors.rewind(cursor, after)
        try:
            if follow:
                cursors.consume(cursor, self._write, _interruption())
            while not follow and cursors.consume_once(cursor, self._write):
                pass
        except cursors.CursorMoved as moved:
            raise CommandError(f"another process reads under this name: {moved}") from moved

    def _write(self, events: list[Event]) -> None:
        for event in events:
            self.stdout.write(orjson.dumps(model_to_dict(event)).decode())
        self.stdout.flush()


def _interruption() -> threading.Event:
    stop = threading.Event()
    for interruption in (signal.SIGINT, signal.SIGTERM):
        signal.signal(interruption, lambda *_: stop.set())
    return stop
