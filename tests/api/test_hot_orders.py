"""An order placed the short way is what it would have been the ordinary way, or goes that way."""

from __future__ import annotations

import io
import json
from typing import Any

import orjson
import pytest
from django.db import OperationalError
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from access.gate import gate
from access.keys import revoke_key
from access.users import disable_user
from config import api
from config.observability.requests import request_name
from config.server.http import Answer
from config.wsgi import django_application
from events.models import Event
from events.transactions import CommitLost
from tests.api.test_hot import ask, remembered, stop_the_minute
from tests.people import Trader, a_trader
from tests.portfolios.factories import assert_books_balance
from tests.trading.floor import TradingFloor
from trading import orders
from trading.api.hot import BODY_MAX, PATH, ShortWay
from trading.models import Order

pytestmark = pytest.mark.django_db

BUY = {"symbol": "AAPL", "side": "buy", "type": "limit", "time_in_force": "day"} | {
    "qty": "1",
    "limit_price": "90",
}
EACH_TIME_ANOTHER = {"id", "client_order_id", "created_at", "submitted_at", "updated_at"}


class Way:
    """The short way before Django, and how often the ordinary one was gone."""

    def __init__(self, *, is_shut: bool = False) -> None:
        self.ordinary = 0
        self.marked: list[int] = []
        self.application = ShortWay(
            self._django,
            gate=gate,
            api=api,
            name_request=request_name,
            is_shut=lambda: is_shut,
            accounts_changed=self.marked.extend,
        )

    def _django(self, environ: dict[str, Any], start_response: Any) -> Any:
        self.ordinary += 1
        return django_application(environ, start_response)

    def post(self, body: Any, headers: dict[str, str], **more: str) -> Answer:
        return ask(self.application, environ(body, headers, **more))


def ordinary(body: Any, headers: dict[str, str], **more: str) -> Answer:
    return ask(django_application, environ(body, headers, **more))


def environ(body: Any, headers: dict[str, str], **more: str) -> dict[str, Any]:
    said = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in headers.items()}
    return {
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "",
        "PATH_INFO": PATH,
        "QUERY_STRING": "",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "HTTP_HOST": "localhost:8000",
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": str(len(said)),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(said),
        **named,
        **more,
    }


def told(answer: Answer) -> tuple[int, Any, dict[bytes, bytes]]:
    """What an answer says, apart from what is another with each order."""
    return answer.status, _told(orjson.loads(answer.body)), remembered(answer.headers)


def _told(body: Any) -> Any:
    if not isinstance(body, dict):
        return body
    return {
        name: [_told(leg) for leg in value] if name == "legs" and value else value
        for name, value in body.items()
        if name not in EACH_TIME_ANOTHER
    }


@pytest.fixture(autouse=True)
def _own_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    stop_the_minute(monkeypatch)


@pytest.fixture
def trader() -> Trader:
    TradingFloor().show()
    return a_trader()


ORDERS: dict[str, Any] = {
    "limit": BUY,
    "numbers": BUY | {"qty": 1.5, "limit_price": 90.25},
    "nulls": BUY | {"stop_price": None, "extended_hours": None, "order_class": None},
    "market": {**BUY, "type": "market", "limit_price": None},
    "notional": {**BUY, "type": "market", "limit_price": None, "qty": None, "notional": "100.5"},
    "trailing": {**BUY, "type": "trailing_stop", "limit_price": None, "trail_percent": "1"},
    "short": BUY | {"side": "sell", "limit_price": "110"},
    "with exits": BUY
    | {
        "order_class": "bracket",
        "take_profit": {"limit_price": "110"},
        "stop_loss": {"stop_price": "80", "limit_price": "79"},
    },
    "unknown fields": BUY | {"colour": "red"},
    "of another case": BUY | {"symbol": "aapl"},
    "too dear": BUY | {"qty": "100000"},
    "unknown symbol": BUY | {"symbol": "NOSUCH"},
    "no price": {**BUY, "limit_price": None},
    "no side": {name: value for name, value in BUY.items() if name != "side"},
    "no number": BUY | {"qty": "many"},
    "a true number": BUY | {"qty": True},
    "sub-penny": BUY | {"limit_price": "90.001"},
    "another class": BUY | {"order_class": "mleg"},
    "too long an id": BUY | {"client_order_id": "x" * 129},
    "no text": BUY | {"client_order_id": "\ud800"},
    "lots": BUY | {"lot_method": "specific", "lots": [1]},
    "a list": [BUY],
    "a string": "buy",
    "nothing": b"",
    "spaces": b"  ",
    "half": b'{"symbol": "AA',
    "no JSON": b'{"qty": NaN}',
    "no UTF-8": b'{"symbol": "\xff"}',
    "without end": b'{"qty": 1e999999999}',
    "deep": b"[" * 5000,
}


@pytest.mark.parametrize("name", ORDERS)
def test_both_ways_answer_the_same(trader: Trader, name: str) -> None:
    way = Way()

    short = way.post(ORDERS[name], trader.headers)
    usual = ordinary(ORDERS[name], trader.headers)

    assert way.ordinary == 0
    assert short.status < 500
    assert told(short) == told(usual)
    events = list(Event.objects.filter(account_id=trader.account.pk).order_by("pk"))
    kinds = [event.kind for event in events if event.kind.startswith("trading.")]
    assert kinds[: len(kinds) // 2] == kinds[len(kinds) // 2 :], "each leaves the same behind"
    assert_books_balance(trader.account)


FIELDS = [*BUY, "notional", "stop_price", "trail_price", "extended_hours", "order_class"]
FIELDS += ["take_profit", "stop_loss", "lots", "lot_method"]
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 200),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=4),
    st.sampled_from(["buy", "sell", "market", "stop", "gtc", "ioc", "oto", "oco", "100", "1e2"]),
    st.dictionaries(st.sampled_from(["limit_price", "stop_price"]), st.integers(80, 120)),
    st.lists(st.integers(0, 2), max_size=2),
)


@hypothesis_settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=4))
def test_both_ways_answer_the_same_to_any_order(trader: Trader, changes: dict[str, Any]) -> None:
    short = Way().post(BUY | changes, trader.headers)
    hold_nothing(trader)
    usual = ordinary(BUY | changes, trader.headers)
    hold_nothing(trader)

    assert short.status < 500
    assert told(short) == told(usual)


def hold_nothing(trader: Trader) -> None:
    """Cancel every order, so that the next one is judged as the last one was."""
    orders.cancel_all(account_id=trader.account.pk, actor="test")


def test_an_id_is_taken_whichever_way_it_came(trader: Trader) -> None:
    for first, second in ((Way().post, ordinary), (ordinary, Way().post)):
        body = BUY | {"client_order_id": f"mine-{Order.objects.count()}"}
        assert first(body, trader.headers).status == 200
        again = second(body, trader.headers)
        assert (again.status, orjson.loads(again.body)["code"]) == (422, 40010001)


@pytest.mark.parametrize(
    ("headers", "more"),
    [
        ({}, {}),
        ({"APCA-API-KEY-ID": "NOSUCH", "APCA-API-SECRET-KEY": "x"}, {}),
        ({"APCA-API-SECRET-KEY": "wrong"}, {}),
        ({"APCA-API-KEY-ID": "\xe9"}, {}),
        ({"Idempotency-Key": "once"}, {}),
        ({"Host": "elsewhere.example"}, {}),
        ({"Host": ""}, {}),
        ({"Transfer-Encoding": "chunked"}, {}),
        ({}, {"REQUEST_METHOD": "GET"}),
        ({}, {"REQUEST_METHOD": "PUT"}),
        ({}, {"PATH_INFO": PATH + "/"}),
        ({}, {"QUERY_STRING": "x=1"}),
        ({}, {"CONTENT_TYPE": "text/plain"}),
        ({}, {"CONTENT_TYPE": "multipart/form-data; boundary=x"}),
        ({}, {"CONTENT_LENGTH": ""}),
        ({}, {"CONTENT_LENGTH": "-1"}),
        ({}, {"CONTENT_LENGTH": "٣"}),
        ({}, {"CONTENT_LENGTH": str(BODY_MAX + 1)}),
    ],
)
def test_what_is_not_plain_is_left_to_django(
    trader: Trader, headers: dict[str, str], more: dict[str, str]
) -> None:
    way = Way()
    headers = {**trader.headers, **headers} if headers else (trader.headers if more else {})

    short = way.post(BUY, headers, **more)

    assert way.ordinary == 1
    if "HTTP_IDEMPOTENCY_KEY" not in environ(BUY, headers):  # the second would be a replay
        assert told(short) == told(ordinary(BUY, headers, **more))


def test_while_the_primary_is_away_every_order_is_djangos_to_refuse(trader: Trader) -> None:
    way = Way(is_shut=True)

    assert way.post(BUY, trader.headers).status == 200
    assert way.ordinary == 1


def test_who_is_shut_out_is_refused_at_once_in_the_process_that_did_it(
    trader: Trader, django_capture_on_commit_callbacks: Any
) -> None:
    way, other = Way(), a_trader()
    assert way.post(BUY, trader.headers).status == way.post(BUY, other.headers).status == 200

    with django_capture_on_commit_callbacks(execute=True):
        revoke_key(account_id=trader.account.pk, key_id=trader.key_id, actor="test")
        disable_user(user_id=other.user.pk, actor="test")

    assert way.post(BUY, trader.headers).status == way.post(BUY, other.headers).status == 401


def test_beyond_the_limit_nothing_is_placed(trader: Trader, settings: Any) -> None:
    settings.RATE_LIMIT_PER_MINUTE = 2
    way = Way()

    statuses = [way.post(BUY, trader.headers).status for _ in range(4)]

    assert statuses == [200, 200, 429, 429]
    assert Order.objects.filter(account=trader.account).count() == 2


def test_every_order_is_named_and_counted(trader: Trader) -> None:
    way = Way()

    first = dict(way.post(BUY, {**trader.headers, "X-Request-ID": "mine-1"}).headers)
    second = dict(way.post(BUY, {**trader.headers, "X-Request-ID": "not mine!"}).headers)

    assert first[b"x-request-id"] == b"mine-1"
    assert len(second[b"x-request-id"]) == 32
    left = [int(each[b"x-ratelimit-remaining"]) for each in (first, second)]
    assert left[1] == left[0] - 1
    accepted = Event.objects.filter(account_id=trader.account.pk, kind="trading.order.accepted")
    assert list(accepted.order_by("pk").values_list("request_id", flat=True)) == [
        "mine-1",
        second[b"x-request-id"].decode(),
    ]
    actors = set(accepted.values_list("actor", flat=True))
    assert actors == {f"key:{trader.key_id}"}


@pytest.mark.parametrize(
    "error", [OperationalError(2006, "gone"), CommitLost(2013, "lost"), RuntimeError("a bug")]
)
def test_what_goes_wrong_is_said_in_the_same_words(
    trader: Trader, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(**_: Any) -> None:
        raise error

    monkeypatch.setattr(orders, "submit", fail)

    way = Way()
    short = way.post(BUY, trader.headers)

    assert short.status in (500, 503)
    assert told(short) == told(ordinary(BUY, trader.headers))
    assert way.marked == [trader.account.pk], "it may be stored: nobody is to read behind it"
