"""Import the daily or minute history of a LEAN data folder."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from quotes.backfill import import_lean
from quotes.feeds.base import FeedError


class Command(BaseCommand):
    help = "Import trade bars of a LEAN data folder. Safe to repeat; prices stay as traded."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--data", required=True, help="the folder that holds equity/usa")
        parser.add_argument("--symbols", nargs="+", help="default: all that the folder has")
        parser.add_argument("--resolution", choices=("daily", "minute"), default="daily")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            written = import_lean(
                options["data"],
                options["symbols"],
                resolution=options["resolution"],
                progress=self._report,
            )
        except FeedError as error:
            raise CommandError(error.message) from error
        self.stdout.write(f"{written} {options['resolution']} bars are stored")

    def _report(self, done: int, total: int) -> None:
        self.stdout.write(f"{done} of {total} instruments")
