"""One loader behind two caches: ours, and Django's get and set. For benchmarks/stampede.py.

The settings are Openbell's, in a schema of the benchmark's; `/ours` and `/plain` answer how many
instruments there are, from a list of all that costs one query to load.
"""

import os
import time
from collections.abc import Sized
from typing import Any

from django.core.cache import caches
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.urls import path

from benchmarks.stampede import INSTRUMENTS, KEY
from config.server import gunicorn_worker
from config.settings import *  # noqa: F403
from config.settings import DATABASES, MIDDLEWARE

DATABASES["default"]["NAME"] = os.environ["STAMPEDE_SCHEMA"]
ALLOWED_HOSTS = ["127.0.0.1"]
ROOT_URLCONF = __name__
MIDDLEWARE.clear()

gunicorn_worker.WAITING_PER_THREAD = 1_000
gunicorn_worker.WAIT_SECONDS_MAX = 60.0

KEPT_SECONDS = 60


def load() -> list[dict[str, Any]]:
    from quotes.listings import asset_json
    from quotes.models import Instrument

    return [asset_json(instrument) for instrument in Instrument.objects.all()]


def ours(request: HttpRequest) -> HttpResponse:
    cache: Any = caches["quotes"]
    found = cache.get_or_load_many("assets", [KEY], lambda _: {KEY: load()})
    return answer(found[KEY])


def plain(request: HttpRequest) -> HttpResponse:
    cache = caches["default"]
    found = cache.get(KEY)
    if found is None:
        found = load()
        cache.set(KEY, found, KEPT_SECONDS)
    return answer(found)


def connected(request: HttpRequest) -> HttpResponse:
    """Keep a thread busy, so that the next request has to take another."""
    connection.ensure_connection()
    time.sleep(0.3)
    return answer(range(INSTRUMENTS))


def answer(found: Sized) -> HttpResponse:
    text = str(len(found))
    return HttpResponse(text, headers={"Content-Length": str(len(text))})


urlpatterns = [path("ours", ours), path("plain", plain), path("connected", connected)]
