"""What is answered while the primary is away: reads go on from replicas, writes hear 503 at once.

A process knows it by its heartbeat, or by a connection that could not be made. Then nobody waits
for the primary until a beat has reached it again: its time-outs are for one statement that is
late, not for everybody who comes while none is answered. Where there are no replicas nobody
watches, and each request finds out for itself.
"""

from __future__ import annotations

from collections.abc import Callable

import orjson
from django.db import OperationalError
from django.http import HttpRequest, HttpResponse
from prometheus_client import Counter

from config.databases import health
from config.databases.requests import READS
from events.errors import Unavailable

FOR_PEOPLE = "Openbell cannot store anything just now. Nothing was changed; please try again soon."

REFUSED = Counter("openbell_writes_refused_total", "Writes refused while the primary was away.")


class PrimaryAway(OperationalError):
    """What has to be read from the primary cannot be read just now."""


class WithoutPrimary:
    """Middleware, around everything that asks the database."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.method not in READS:
            return _refusal(request) if health.primary_is_away() else self.get_response(request)
        response = self.get_response(request)
        if response.status_code < 500 or not health.primary_is_away():
            return response
        response.close()  # it met the primary as it went; now it goes to a replica where it may
        return self.get_response(request)


def _refusal(request: HttpRequest) -> HttpResponse:
    REFUSED.inc()
    headers = {"Retry-After": "1"}
    if "text/html" in request.headers.get("Accept", ""):
        return HttpResponse(FOR_PEOPLE, status=503, content_type="text/plain", headers=headers)
    body = orjson.dumps(Unavailable().body())
    return HttpResponse(body, status=503, content_type="application/json", headers=headers)
