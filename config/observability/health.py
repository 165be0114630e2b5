"""What a balancer, an autoscaling group and a metrics collector ask.

`/healthz`: the process is alive. `/readyz`: it can serve; 503 only where it cannot at all or is
about to end, else 200 with the state of each dependency, which alarms read. `/metrics`: Prometheus.
"""

from __future__ import annotations

import os
import threading

from django.db import DatabaseError, connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from config.databases.health import primary_is_away, usable_replicas
from quotes.clock import market_clock

_leaving = threading.Event()


def leave() -> None:
    """From now on say that this process is not ready, because it ends."""
    _leaving.set()


@require_safe
def healthz(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"status": "ok"})


@require_safe
def readyz(request: HttpRequest) -> HttpResponse:
    """Without any database a process can neither read an account nor take an order."""
    if _leaving.is_set():
        return JsonResponse({"process": "leaving"}, status=503)
    database = _database_answers()
    state = {"database": _word(database), "feed": _word(database and _feed_is_heard())}
    if not database and usable_replicas():
        state["database"] = "read only"
    return JsonResponse(state, status=503 if state["database"] == "away" else 200)


@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """Those of this process, or of all workers of its gunicorn where they share a folder."""
    registry = REGISTRY
    if shared := os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        registry = CollectorRegistry()
        MultiProcessCollector(registry, shared)
    return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


def _database_answers() -> bool:
    if primary_is_away():
        return False
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
            return cursor.fetchone() == (1,)
    except DatabaseError:
        return False


def _feed_is_heard() -> bool:
    return not market_clock().feed_is_silent()


def _word(works: bool) -> str:
    return "ok" if works else "away"
