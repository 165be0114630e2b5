"""While the primary is away: what is read where, what is refused, and how soon."""

from __future__ import annotations

import signal
import time
from contextlib import suppress

import pytest
from django.db import OperationalError, connections, router
from django.http import HttpResponse
from django.test import RequestFactory

from access.models import ApiKey
from config.databases import health
from config.databases.outage import FOR_PEOPLE, PrimaryAway, WithoutPrimary
from config.databases.reading import reading
from config.databases.requests import ReplicaReads
from config.observability.health import readyz
from events import acting
from quotes.models import Instrument
from tests.replication.cluster import PRIMARY, Cluster
from tests.waiting import eventually
from trading.models import Order

BOTH = ["replica_1", "replica_2"]
AT_ONCE_SECONDS = 1.0


@pytest.fixture
def without_primary(settled: Cluster) -> Cluster:
    settled.signal(PRIMARY, signal.SIGSTOP)
    eventually(health.primary_is_away, "it to count as away")
    return settled


def view(request: object) -> HttpResponse:
    """Reads what only the primary may tell, unless it is away."""
    return HttpResponse(str(ApiKey.objects.count()))


def test_keys_and_what_should_be_newest_are_read_from_a_replica(without_primary: Cluster) -> None:
    with reading():
        assert ApiKey.objects.all().db in BOTH
        assert router.db_for_read(Instrument, newest=True) in BOTH


def test_what_has_just_changed_is_not_shown_as_it_was(without_primary: Cluster) -> None:
    with reading() as made:
        acting.account_id.set(7)
        made.pinned[7] = True
        with pytest.raises(PrimaryAway):
            _ = Order.objects.all().db
        made.pinned[7] = False
        assert Order.objects.all().db in BOTH
        acting.account_id.set(None)


def test_a_write_is_refused_at_once_in_the_words_of_who_asked(without_primary: Cluster) -> None:
    begun = time.monotonic()
    answer = WithoutPrimary(view)(RequestFactory().post("/v2/orders"))
    page = WithoutPrimary(view)(RequestFactory().post("/login", headers={"Accept": "text/html"}))

    assert time.monotonic() - begun < AT_ONCE_SECONDS
    assert (answer.status_code, page.status_code) == (503, 503)
    assert answer.headers["Retry-After"] == page.headers["Retry-After"] == "1"
    assert b"50310000" in answer.content
    assert page.content.decode() == FOR_PEOPLE


def test_it_can_serve_and_says_that_it_only_reads(without_primary: Cluster) -> None:
    answer = readyz(RequestFactory().get("/readyz"))

    assert answer.status_code == 200
    assert b'"database": "read only"' in answer.content


def test_all_is_as_before_once_it_answers(without_primary: Cluster) -> None:
    without_primary.signal(PRIMARY, signal.SIGCONT)
    eventually(lambda: not health.primary_is_away(), "it to be back")

    with reading():
        assert ApiKey.objects.all().db == "default"
    assert WithoutPrimary(view)(RequestFactory().post("/v2/orders")).status_code == 200


def test_a_primary_that_refuses_is_away_at_once_and_its_reader_goes_on(settled: Cluster) -> None:
    runs: list[str] = []

    def find_it_gone(request: object) -> HttpResponse:
        rows = ApiKey.objects.all()
        runs.append(rows.db)
        if len(runs) == 1:
            settled.signal(PRIMARY, signal.SIGKILL)
            connections["default"].close()
        with reading():
            try:
                return HttpResponse(str(ApiKey.objects.using(rows.db).count()))
            except OperationalError:
                return HttpResponse(status=503)

    with reading():
        answer = WithoutPrimary(find_it_gone)(RequestFactory().get("/v2/account"))

    assert answer.status_code == 200
    assert runs[0] == "default"
    assert runs[1] in BOTH


@pytest.mark.parametrize("sign", [signal.SIGKILL, None], ids=["gone", "connection only"])
def test_a_read_that_loses_its_connection_to_the_primary_is_answered(
    settled: Cluster, sign: signal.Signals | None
) -> None:
    asked: list[str] = []

    def lose_it(request: object) -> HttpResponse:
        rows = ApiKey.objects.all()
        asked.append(rows.db)
        if len(asked) == 1:
            rows.exists()  # it is connected
            if sign is None:
                end_connection()
            else:
                settled.signal(PRIMARY, sign)
        try:
            return HttpResponse(str(rows.count()))
        except OperationalError:
            return HttpResponse(status=503)

    answer = WithoutPrimary(ReplicaReads(lose_it))(RequestFactory().get("/v2/assets/MSFT"))

    assert answer.status_code == 200
    assert asked[:2] == ["default", "default"]
    assert len(asked) == (2 if sign is None else 3)
    assert health.primary_is_away() is (sign is not None)


def end_connection() -> None:
    """As an operator might: the server ends this thread's connection to the primary."""
    with connections["default"].cursor() as cursor, suppress(OperationalError):
        cursor.execute("KILL CONNECTION CONNECTION_ID()")
