"""Where requests read: those that only read from a replica, and once more if they lose it.

A connection to the primary may break too, when nobody knows yet whether the primary is away. What
only reads is tried once more then, over a new one; where none can be made, it is away (`outage`).

Any other request of an account may change what is shown of it, also beside its books (a watchlist),
so the account is marked before the answer leaves.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections
from django.http import HttpRequest, HttpResponse
from prometheus_client import Counter

from config.databases.pinning import accounts_changed
from config.databases.reading import current, reading
from events import acting

READS = frozenset({"GET", "HEAD"})
REPEATED = Counter("openbell_reads_repeated_total", "Requests that lost their server half-way.")


class ReplicaReads:
    """Middleware. A GET or HEAD that loses its replica runs once more, on the primary; one that
    loses the primary runs once more as it did."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        nobody = acting.account_id.set(None)
        try:
            return self._read(request) if request.method in READS else self._write(request)
        finally:
            acting.account_id.reset(nobody)

    def process_view(
        self, request: HttpRequest, view: Any, arguments: Any, named_arguments: Any
    ) -> None:
        """Operators decide by what the admin shows: it is the primary's word."""
        made = current()
        if made is not None and request.resolver_match is not None:
            made.on_primary |= "admin" in request.resolver_match.app_names

    def _read(self, request: HttpRequest) -> HttpResponse:
        with reading() as made:
            response = self.get_response(request)
        in_vain = made.lost_primary and response.status_code >= 500
        if not made.lost_replica and not in_vain:
            return response
        REPEATED.inc()
        response.close()
        if made.lost_primary:
            connections[DEFAULT_DB_ALIAS].close()
        with reading(on_primary=made.lost_replica):
            return self.get_response(request)

    def _write(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        account_id = acting.account_id.get()
        if account_id is not None:
            accounts_changed([account_id])
        return response
