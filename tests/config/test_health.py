"""What balancers and collectors are told."""

from __future__ import annotations

import threading

import pytest
from django.db import DatabaseError, connection

from config.observability import health


def test_alive_asks_nobody(client):
    """No database fixture here: a query would fail the test."""
    assert client.get("/healthz").status_code == 200


@pytest.mark.django_db
def test_ready_names_each_dependency(client):
    answer = client.get("/readyz")

    assert answer.status_code == 200
    assert answer.json() == {"database": "ok", "feed": "away"}  # no feed runs in this test


@pytest.mark.django_db
def test_not_ready_without_a_database(client):
    def lose(*_):
        raise DatabaseError("gone")

    with connection.execute_wrapper(lose):
        answer = client.get("/readyz")

    assert answer.status_code == 503
    assert answer.json()["database"] == "away"


def test_metrics_are_in_the_text_that_prometheus_reads(client):
    answer = client.get("/metrics")

    assert answer.headers["Content-Type"].startswith("text/plain")
    assert b"# TYPE openbell_" in answer.content


def test_not_ready_once_it_was_told_to_stop(client, monkeypatch):
    """No database fixture here: who leaves asks nobody."""
    monkeypatch.setattr(health, "_leaving", threading.Event())
    health.leave()
    answer = client.get("/readyz")

    assert (answer.status_code, answer.json()) == (503, {"process": "leaving"})
    assert client.get("/healthz").status_code == 200
