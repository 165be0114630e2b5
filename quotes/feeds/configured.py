"""The feed that the settings ask for."""

from __future__ import annotations

from datetime import date

from django.conf import settings

from quotes.feeds.base import Feed, FeedError
from quotes.feeds.lean import LeanFeed
from quotes.feeds.simulated import SimulatedFeed


def configured_feed(now_us: int) -> Feed:
    """The feed of `FEED`, `DATA`, `DATE` and `SEED`; a simulated one begins at `now_us`.

    FeedError where the recording is not there.
    """
    if settings.FEED == "simulated":
        return SimulatedFeed(settings.FEED_SEED, now_us)
    return LeanFeed(settings.FEED_DATA, recorded_day())


def recorded_day() -> date:
    """The day that `DATE` names."""
    try:
        return date.fromisoformat(settings.FEED_DATE)
    except ValueError as error:
        raise FeedError(f"DATE={settings.FEED_DATE} is no date such as 2013-10-07") from error
