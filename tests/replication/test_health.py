"""Replicas that stop, hang, die or fall behind are left out, and come back by themselves."""

from __future__ import annotations

import signal
import time
from uuid import uuid4

import pytest
from django.db import OperationalError
from django.http import HttpRequest, HttpResponse

from config.databases import health
from config.databases.reading import reading
from config.databases.requests import ReplicaReads
from quotes.models import Instrument
from tests.replication.cluster import FIRST, PRIMARY, SECOND, Cluster
from tests.waiting import eventually

BOTH = ["replica_1", "replica_2"]


def usable() -> list[str]:
    return health.usable_replicas()


def stop_replication(cluster: Cluster) -> None:
    cluster.sql(FIRST, "STOP SLAVE")


def stop_applying(cluster: Cluster) -> None:
    cluster.sql(FIRST, "STOP SLAVE SQL_THREAD")


def hang(cluster: Cluster) -> None:
    cluster.signal(FIRST, signal.SIGSTOP)


def kill(cluster: Cluster) -> None:
    cluster.signal(FIRST, signal.SIGKILL)


def open_for_writing(cluster: Cluster) -> None:
    cluster.sql(FIRST, "SET GLOBAL read_only=0")


@pytest.mark.parametrize("hurt", [stop_replication, stop_applying, hang, kill, open_for_writing])
def test_an_unfit_replica_is_left_out_and_returns(settled, hurt):
    hurt(settled)
    eventually(lambda: usable() == ["replica_2"], "the unfit one to be left out")

    settled.heal()
    eventually(lambda: usable() == BOTH, "it to return")


def test_without_replicas_the_primary_serves(settled):
    for node in (FIRST, SECOND):
        settled.signal(node, signal.SIGKILL)
    eventually(lambda: usable() == [], "both to be left out")

    with reading():
        assert Instrument.objects.all().db == "default"
        assert not Instrument.objects.filter(symbol="NONE").exists()


def test_reading_goes_on_while_the_primary_is_silent(settled):
    settled.signal(PRIMARY, signal.SIGSTOP)

    until = time.monotonic() + 5  # well beyond the lag limit
    while time.monotonic() < until:
        assert usable() == BOTH
        with reading():
            assert not Instrument.objects.filter(symbol="NONE").exists()
        time.sleep(0.1)


def test_a_read_that_loses_its_replica_runs_once_more(settled):
    runs: list[str] = []

    def view(request: HttpRequest) -> HttpResponse:
        rows = Instrument.objects.all()
        runs.append(rows.db)
        if len(runs) == 1:
            settled.signal({"replica_1": FIRST, "replica_2": SECOND}[rows.db], signal.SIGKILL)
        try:
            return HttpResponse(str(rows.count()))
        except OperationalError:
            return HttpResponse(status=503)

    request = HttpRequest()
    request.method = "GET"

    answer = ReplicaReads(view)(request)

    assert answer.status_code == 200
    assert runs[1:] == ["default"]


def test_a_write_is_never_run_twice(settled):
    runs: list[str] = []

    def view(request: HttpRequest) -> HttpResponse:
        runs.append(Instrument.objects.all().db)
        return HttpResponse(status=503)

    request = HttpRequest()
    request.method = "POST"
    ReplicaReads(view)(request)

    assert runs == ["default"]


def test_what_is_written_arrives_on_both(settled):
    made = Instrument.objects.create(symbol=uuid4().hex[:8].upper())

    for alias in BOTH:
        eventually(Instrument.objects.using(alias).filter(pk=made.pk).exists, f"it on {alias}")
    made.delete()
