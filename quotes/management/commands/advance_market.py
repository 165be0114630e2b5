"""manage.py advance_market --to 2013-10-07T09:35: play a stepped market up to an instant."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from events.commands import operator
from events.errors import OpenbellError
from quotes.calendar import NEW_YORK
from quotes.market import SETTLE_TIMEOUT_SECONDS, advance

SHOW_SECONDS = 1.0


def instant(text: str) -> datetime:
    """An ISO date and time; without an offset it is New York time."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"“{text}” is no date and time. Example: 2013-10-07T09:35"
        ) from None
    return at if at.tzinfo else at.replace(tzinfo=NEW_YORK)


class Command(BaseCommand):
    help = (
        "Plays a stepped market up to an instant and returns once everything that follows from it "
        "is committed. The feed and the execution have to run, here or in another process."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--to", type=instant, required=True, help="New York time, or with +hh")
        parser.add_argument("--timeout", type=float, default=SETTLE_TIMEOUT_SECONDS, metavar="S")

    def handle(self, **options: Any) -> None:
        try:
            settled = advance(
                to=options["to"],
                actor=operator(),
                timeout_seconds=options["timeout"],
                on_progress=self.progress() if options["verbosity"] > 0 else None,
            )
        except OpenbellError as error:
            raise CommandError(error.message) from error
        self.stdout.write(f"settled up to {_new_york(settled)}")

    def progress(self) -> Callable[[datetime], None]:
        """Prints where the market is, once a second."""
        shown_at = time.monotonic()

        def show(at: datetime) -> None:
            nonlocal shown_at
            if time.monotonic() - shown_at >= SHOW_SECONDS:
                shown_at = time.monotonic()
                self.stdout.write(f"at {_new_york(at)}")

        return show


def _new_york(at: datetime) -> str:
    return f"{at.astimezone(NEW_YORK):%Y-%m-%d %H:%M:%S} New York"
