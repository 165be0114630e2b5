"""Whatever is asked, the answer is the contract's error and nothing changes."""

from __future__ import annotations

from decimal import Decimal
from io import BytesIO
from typing import Any

import pytest
from django.db import OperationalError
from django.test import Client

from access.models import ApiKey
from config.api import JSONParser, JSONRenderer, describe
from events.errors import Refused, Unavailable
from events.models import Event
from tests.people import a_trader

pytestmark = pytest.mark.django_db


def assert_error(answer: Any, status: int, code: int) -> None:
    assert answer.status_code == status, answer.content
    assert answer.headers["Content-Type"] == "application/json"
    body = answer.json()
    assert body["code"] == code
    assert isinstance(body["message"], str)
    assert 0 < len(body["message"]) <= 300


def post(client: Client, body: Any, content_type: str = "application/json") -> Any:
    """A new key by a session: the smallest thing a body changes."""
    return client.post("/api/keys", body, content_type=content_type)


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"nonsense",
        b"[]",
        b'"text"',
        b"17",
        b"null",
        b'{"name": NaN}',
        b'{"name": Infinity}',
        b'{"name": 1e400}',
        b'{"name": 1e-400}',
        b'{"name": "\\ud800"}',
        b'{"name": "\xff"}',
        "{}".encode("utf-16"),
        b"[" * 20_000,
        b'{"name":' * 5_000 + b"1" + b"}" * 5_000,
        b'{"name": ' + b"9" * 20_000 + b"}",
        b"name=robot",
    ],
)
def test_a_body_that_is_no_json_object_is_400_and_changes_nothing(body: bytes) -> None:
    browser = a_trader().browser()
    before = ApiKey.objects.count(), Event.objects.count()

    assert_error(post(browser, body), 400, 40010001)
    assert (ApiKey.objects.count(), Event.objects.count()) == before


@pytest.mark.parametrize("name", [["list"], {"a": 1}, "x" * 65, None, True])
def test_a_field_of_the_wrong_kind_is_422_and_is_named(name: Any) -> None:
    browser = a_trader().browser()
    before = ApiKey.objects.count()

    answer = post(browser, {"name": name})

    assert_error(answer, 422, 40010001)
    assert answer.json()["message"].startswith("name: ")
    assert ApiKey.objects.count() == before


def test_an_oversize_body_is_413() -> None:
    browser = a_trader().browser()

    assert_error(post(browser, b'{"name": "' + b"x" * 70_000 + b'"}'), 413, 41310000)


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", "nonsense", ""])
def test_the_content_type_does_not_matter(content_type: str) -> None:
    browser = a_trader().browser()

    assert post(browser, b'{"name": "robot", "unknown": 1}', content_type).status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/v2/nosuch",
        "/v2/",
        "/v2",
        "/api/nosuch",
        "/v1beta1/news",
        "/v2/clock/",
        "/v2/%00",
        "/v2/%ff",
    ],
)
@pytest.mark.parametrize("method", ["get", "post", "delete"])
def test_an_unknown_route_is_404_without_a_redirect(path: str, method: str) -> None:
    answer = getattr(a_trader().client(), method)(path)

    assert_error(answer, 404, 40410000)
    assert answer.json()["message"] == "endpoint not found."


def test_a_known_route_refuses_other_methods() -> None:
    answer = a_trader().client().post("/v2/clock", {}, content_type="application/json")

    assert_error(answer, 405, 40510000)
    assert "GET" in answer.headers["Allow"]


@pytest.mark.parametrize("path", ["/v2/clock", "/v2/assets", "/v2/events", "/api/keys"])
def test_a_stranger_is_401(path: str) -> None:
    assert_error(Client().get(path), 401, 40110000)


@pytest.mark.parametrize("method", ["get", "post", "delete"])
def test_a_host_that_is_not_ours_is_400(method: str) -> None:
    answer = getattr(Client(), method)("/v2/clock", headers={"Host": "evil.example"})

    assert_error(answer, 400, 40010001)


@pytest.mark.parametrize("accept", ["text/html", "application/xml", "nonsense", ""])
def test_the_answer_is_json_whatever_is_accepted(accept: str) -> None:
    answer = a_trader().client().get("/v2/clock?format=html", headers={"Accept": accept})

    assert answer.headers["Content-Type"] == "application/json"
    assert answer.status_code == 200


def test_too_many_parameters_are_refused() -> None:
    query = "&".join(f"p{number}=1" for number in range(2_000))

    assert_error(a_trader().client().get(f"/v2/events?{query}"), 400, 40010001)


@pytest.mark.parametrize(
    "query",
    ["since=x", "since=-1", "since=1e3", "since=" + "9" * 50, "limit=0", "limit=1001", "limit=NaN"],
)
def test_parameters_out_of_range_are_422(query: str) -> None:
    assert_error(a_trader().client().get(f"/v2/events?{query}"), 422, 40010001)


def test_keys_cannot_make_or_see_keys() -> None:
    program = a_trader().client()

    assert_error(program.get("/api/keys"), 403, 40310000)
    assert_error(post(program, {"name": "more"}), 403, 40310000)


@pytest.mark.parametrize("path", ["/v2/clock", "/v2/nosuch", "/api/keys", "/api/schema/"])
def test_no_answer_is_kept_by_anyone(path: str) -> None:
    assert Client().get(path).headers["Cache-Control"] == "private, no-store"


def test_every_answer_names_its_request() -> None:
    client = a_trader().client()

    given = client.get("/v2/clock", headers={"X-Request-ID": "mine-1"})
    bad = client.get("/v2/clock", headers={"X-Request-ID": "no\tgood" + "x" * 100})

    assert given.headers["X-Request-ID"] == "mine-1"
    assert len(bad.headers["X-Request-ID"]) == 32


def test_events_carry_the_name_of_their_request() -> None:
    trader = a_trader()
    trader.browser().post(
        "/api/keys", {}, content_type="application/json", headers={"X-Request-ID": "mine-2"}
    )

    assert Event.objects.filter(kind="access.key.created").latest("id").request_id == "mine-2"


class TestDescribe:
    """Errors that no request here can bring about."""

    def test_a_refusal_carries_its_numbers_as_strings(self) -> None:
        status, body = describe(Refused("insufficient", buying_power=Decimal("1.50")))

        assert status == 422
        assert body == {"code": 42210000, "message": "insufficient", "buying_power": "1.50"}

    def test_a_database_that_is_away_is_503(self) -> None:
        status, body = describe(OperationalError(2006, "MySQL server has gone away"))

        assert (status, body) == (503, Unavailable().body())

    def test_a_bug_is_500_and_tells_nothing(self) -> None:
        status, body = describe(RuntimeError("password=hunter2"))

        assert (status, body) == (500, {"code": 50010000, "message": "internal server error"})


def test_a_bug_is_answered_in_json_and_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("events.api.views.account_events", broken)

    answer = a_trader().client().get("/v2/events")

    assert_error(answer, 500, 50010000)
    assert "a bug" in caplog.text


def test_numbers_arrive_as_exact_as_they_were_written() -> None:
    body = BytesIO(b'{"a": 0.1, "b": 12345678901234567890.123456789, "c": 7}')

    data = JSONParser().parse(body)

    assert data == {"a": Decimal("0.1"), "b": Decimal("12345678901234567890.123456789"), "c": 7}


def test_decimals_leave_as_plain_strings() -> None:
    rendered = JSONRenderer().render({"a": Decimal("1E+3"), "b": Decimal("0.10")})

    assert rendered == b'{"a":"1000","b":"0.10"}'
