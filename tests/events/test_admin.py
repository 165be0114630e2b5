"""The event log as operators look through it: quick however long it has become."""

from __future__ import annotations

import pytest
from django.contrib.auth import get_user_model
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from events import log
from events.admin import PAGES_MAX, UncountedPaginator
from events.models import Event

pytestmark = pytest.mark.django_db

ORDERS = 60  # more than a page


@pytest.fixture
def floor() -> Client:
    client = Client()
    client.force_login(get_user_model().objects.create_superuser("boss"))
    return client


@pytest.fixture(autouse=True)
def events() -> None:
    with transaction.atomic():
        for number in range(ORDERS):
            named = log.request_id.set(f"request-{number}")
            log.record("trading.order.accepted", actor="user:1", subject=f"order:{number}")
            log.request_id.reset(named)
        log.record("access.user.disabled", actor="operator:1", subject="user:1")
        log.record("accessories", actor="test", subject="order:7")


def listed(floor: Client, **asked: str) -> list[str]:
    """The subjects on the page, and that nothing it asked reads the whole table."""
    with CaptureQueriesContext(connection) as queries:
        page = floor.get(reverse("admin:events_event_changelist"), asked)
    of_events = [query["sql"] for query in queries if "events_event" in query["sql"]]
    assert of_events
    assert not [sql for sql in of_events if "COUNT(" in sql or "LIKE" in sql]
    return [event.subject for event in page.context["cl"].result_list]


def test_the_newest_come_first_and_are_not_counted(floor: Client) -> None:
    assert listed(floor)[:3] == ["order:7", "user:1", "order:59"]
    assert listed(floor, p="2")[-1] == "order:0"


def test_one_is_found_by_its_whole_subject_or_request(floor: Client) -> None:
    assert listed(floor, q="order:7") == ["order:7", "order:7"]
    assert listed(floor, q="request-42") == ["order:42"]
    assert listed(floor, q="request-4 order:4") == ["order:4"]
    assert listed(floor, q="order:") == []


def test_one_kind_of_change_is_found_by_its_app(floor: Client) -> None:
    assert listed(floor, what="access.") == ["user:1"]
    assert len(listed(floor, what="trading.")) == 50
    assert listed(floor, what="quotes.") == []


def test_what_can_be_asked_has_an_index_and_nothing_else_sorts(floor: Client) -> None:
    with connection.cursor() as cursor:
        found = connection.introspection.get_constraints(cursor, Event._meta.db_table).values()

    led_by = {each["columns"][0] for each in found if each["index"] and each["columns"]}
    assert {"subject", "request_id", "kind"} <= led_by
    page = floor.get(reverse("admin:events_event_changelist")).content.decode()
    assert "order:59" in page
    assert "?o=" not in page


def test_a_long_list_ends_after_so_many_pages() -> None:
    paginator = UncountedPaginator(Event.objects.order_by("-pk"), 1)

    assert Event.objects.count() < PAGES_MAX
    assert paginator.count == Event.objects.count()
    with transaction.atomic():
        log.record_many(log.draft("test", actor="test") for _ in range(PAGES_MAX))
    paginator = UncountedPaginator(Event.objects.order_by("-pk"), 1)
    assert (paginator.count, paginator.num_pages) == (PAGES_MAX, PAGES_MAX)
