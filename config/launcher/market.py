"""The database, the market that it holds, and the market's past."""

from __future__ import annotations

import sys
from datetime import datetime

from django.conf import settings
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from quotes.backfill import fill_past, generate_history
from quotes.calendar import NEW_YORK
from quotes.ingest import configured_feed
from quotes.market import jump, open_market
from quotes.models import MarketClock
from quotes.ticks import to_instant


def migrate() -> None:
    """Bring the database's tables up to date."""
    executor = MigrationExecutor(connection)
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        say("Making the database …")
        call_command("migrate", verbosity=0, interactive=False)


def open_with_past(*, later: bool = False) -> None:
    """Open the market that the settings name; at its first start, with a past, or that `later`."""
    feed, mode = configured_feed()
    try:
        instruments = feed.instruments()
        start = to_instant(feed.start_us)
        paced = mode in (MarketClock.Mode.REPLAY, MarketClock.Mode.STEPPED)
        row = open_market(
            mode=mode,
            source=feed.source,
            start_us=feed.start_us,
            speed=settings.FEED_SPEED if paced else 1.0,
            instruments=instruments,
        )
    finally:
        feed.close()
    if not later:
        fill_past(start, _show_progress)
    if mode == MarketClock.Mode.REPLAY:
        _play_to_the_start(row)


def fill_past_beside_others() -> None:
    """Give a simulated market its past while it runs already."""
    opened_us = MarketClock.objects.values_list("opened_us", flat=True).get(pk=1)
    generate_history(settings.FEED_SEED, to_instant(opened_us), _show_progress, alone=False)


def _play_to_the_start(row: MarketClock) -> None:
    """Let a recorded day begin where trading does: what comes before START is played flat out."""
    day = to_instant(row.opened_us).astimezone(NEW_YORK).date()
    start = datetime.combine(day, settings.FEED_START, NEW_YORK)
    if to_instant(max(row.watermark_us, row.reserved_us, row.advance_to_us)) < start:
        jump(to=start, actor="system")


def say(line: str) -> None:
    print(line, flush=True)


def _show_progress(done: int, total: int) -> None:
    """One line that counts on a terminal, a line now and then elsewhere."""
    line = f"Writing the market's past: {done} of {total} instruments"
    if sys.stdout.isatty():
        print(f"\r{line}", end="\n" if done == total else "", flush=True)
    elif done == total or done % 10 == 0:
        say(line)
