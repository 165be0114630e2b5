"""The short way answers what the ordinary way would have answered, or leaves it to that."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import orjson
import pytest
from django.conf import settings
from django.core.signals import request_finished, request_started
from django.db import close_old_connections, connection
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from access.gate import gate
from access.keys import revoke_key
from access.limits import Limiter
from config.observability.requests import request_name
from config.server.http import Answer, call
from config.wsgi import django_application
from quotes import latest
from quotes.api import hot
from quotes.api.hot import FRESH_SECONDS, PATH, Fragments, Listener, ShortWay
from quotes.streaming.bus import CONTROL, TICK_TOPICS, bus
from quotes.ticks import Batch, Quote
from tests.api import recording
from tests.people import Trader, a_trader

# Of every answer of Django's; they tell a browser what to do with a page.
FOR_PAGES = {
    b"allow",
    b"vary",
    b"content-security-policy",
    b"x-frame-options",
    b"referrer-policy",
    b"cross-origin-opener-policy",
}
EACH_TIME_ANOTHER = {b"x-request-id", b"x-ratelimit-remaining"}


def quote(symbol: str = "AAPL", *, epoch: int = 1, sequence: int = 1, bid: int = 100) -> Quote:
    return Quote(
        symbol, 1_381_152_600_000_000, bid * 10_000, 3, bid * 10_000 + 1, 4, sequence, epoch
    )


def ask(application: Any, request: dict[str, Any]) -> Answer:
    """The answer, inside the test's transaction: Django would drop a connection that is in one."""
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    try:
        return call(application, request)
    finally:
        for signal in (request_started, request_finished):
            signal.connect(close_old_connections)


_open_ways: list[ShortWay] = []


@pytest.fixture(autouse=True)
def _closed_ways() -> Iterator[None]:
    yield
    while _open_ways:
        _open_ways.pop().close()


class Way:
    """The short way before Django, and how often the ordinary one was gone."""

    def __init__(self) -> None:
        self.ordinary = 0
        self.application = ShortWay(self._django, gate=gate, name_request=request_name)
        _open_ways.append(self.application)

    def _django(self, environ: dict[str, Any], start_response: Any) -> Any:
        self.ordinary += 1
        return django_application(environ, start_response)

    def get(self, query: str, headers: dict[str, str], **more: str) -> Answer:
        return ask(self.application, environ(query, headers, **more))


def environ(query: str, headers: dict[str, str], **more: str) -> dict[str, Any]:
    named = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in headers.items()}
    return {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": PATH,
        "QUERY_STRING": query,
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "HTTP_HOST": "localhost:8000",
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(),
        **named,
        **more,
    }


@pytest.fixture(autouse=True)
def _own_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("access.limits.limiter", Limiter())


@pytest.fixture
def trader(db: None) -> Trader:
    """Somebody whom memory knows, in a market with quotes of AIG and IBM."""
    recording.play()
    trader = a_trader()
    assert trader.client().get("/v2/clock").status_code == 200
    latest.get_many(["AIG", "IBM"])
    return trader


def remembered(headers: list[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    return {
        name: value
        for name, value in headers
        if name not in FOR_PAGES | EACH_TIME_ANOTHER | {b"content-length"}
    }


QUERIES = [
    "symbols=AIG",
    "symbols=IBM,AIG",
    "symbols=aig%2Cibm",
    "symbols=AIG,IBM,AIG&feed=iex",
    "symbols=AIG&feed=sip",
]
LEFT_TO_DJANGO = [
    "",
    "symbols=",
    "symbols=,",
    "symbols=AIG,",
    "symbols=AIG,NOSUCH",
    "symbols=%41IG",
    "symbols= AIG",
    "symbols=AIG+IBM",
    "symbols=A!G",
    "symbols=AIG&symbols=IBM",
    "symbols=AIG&feed=nosuch",
    "symbols=AIG&currency=USD",
    "symbols=AIG&x=1",
    "x=1&symbols=AIG",
    "Symbols=AIG",
    "symbols=" + ",".join(f"S{n}" for n in range(1001)),
    "symbols=\xdf",  # its upper case would be SS
]


@pytest.mark.parametrize("query", [*QUERIES, *LEFT_TO_DJANGO])
def test_both_ways_answer_the_same(trader: Trader, query: str) -> None:
    way = Way()

    short = way.get(query, trader.headers)
    ordinary = ask(django_application, environ(query, trader.headers))

    assert short.status < 500
    assert (short.status, short.body) == (ordinary.status, ordinary.body)
    assert remembered(short.headers) == remembered(ordinary.headers)
    assert way.ordinary == (0 if query in QUERIES else 1)


PIECES = [
    "AIG",
    "ibm",
    "NOSUCH",
    ",",
    "%2C",
    "%2c",
    "%20",
    "+",
    "&",
    "=",
    "feed=iex",
    "symbols=",
    "%",
]


@hypothesis_settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(st.one_of(st.sampled_from(PIECES), st.text("AIG.-/é\x00 ;", max_size=3)), max_size=8)
)
def test_both_ways_answer_the_same_to_any_query(trader: Trader, pieces: list[str]) -> None:
    query = "symbols=" + "".join(pieces)

    short = Way().get(query, trader.headers)
    ordinary = ask(django_application, environ(query, trader.headers))

    assert short.status < 500
    assert (short.status, short.body) == (ordinary.status, ordinary.body)


@pytest.mark.parametrize(
    ("headers", "more"),
    [
        ({}, {}),
        ({"APCA-API-KEY-ID": "NOSUCH", "APCA-API-SECRET-KEY": "x"}, {}),
        ({"APCA-API-SECRET-KEY": "wrong"}, {}),
        ({"APCA-API-KEY-ID": ""}, {}),
        ({"Host": "elsewhere.example"}, {}),
        ({"Host": "a b"}, {}),
        ({}, {"REQUEST_METHOD": "HEAD"}),
        ({}, {"REQUEST_METHOD": "POST"}),
        ({}, {"PATH_INFO": PATH + "/"}),
    ],
)
def test_what_is_not_plain_is_left_to_django(
    trader: Trader, headers: dict[str, str], more: dict[str, str]
) -> None:
    way = Way()
    headers = {**trader.headers, **headers} if headers else (trader.headers if more else {})

    short = way.get("symbols=AIG", headers, **more)
    ordinary = ask(django_application, environ("symbols=AIG", headers, **more))

    assert way.ordinary == 1
    assert short.status < 500
    assert (short.status, short.body) == (ordinary.status, ordinary.body)


def test_the_short_way_asks_the_database_nothing(trader: Trader) -> None:
    way = Way()

    with CaptureQueriesContext(connection) as queries:
        answer = way.get("symbols=AIG,IBM", trader.headers)

    assert (answer.status, way.ordinary, len(queries)) == (200, 0, 0)


def test_every_request_is_named_and_counted(trader: Trader) -> None:
    way = Way()

    first = dict(way.get("symbols=AIG", {**trader.headers, "X-Request-ID": "mine-1"}).headers)
    second = dict(way.get("symbols=AIG", {**trader.headers, "X-Request-ID": "not mine!"}).headers)

    assert first[b"x-request-id"] == b"mine-1"
    assert len(second[b"x-request-id"]) == 32
    left = [int(each[b"x-ratelimit-remaining"]) for each in (first, second)]
    assert left[0] - left[1] == 1


def test_beyond_the_limit_django_refuses(trader: Trader, settings: Any) -> None:
    settings.RATE_LIMIT_PER_MINUTE = 2
    way = Way()

    answers = [way.get("symbols=AIG", trader.headers) for _ in range(3)]

    assert [answer.status for answer in answers] == [200, 200, 429]
    assert way.ordinary == 1


def test_after_news_of_a_revocation_the_database_is_asked(trader: Trader) -> None:
    way = Way()
    assert way.get("symbols=AIG", trader.headers).status == 200

    gate.hear({"kind": "key_revoked", "key_id": trader.key_id})
    assert way.get("symbols=AIG", trader.headers).status == 200  # a rumour: the database decides
    assert way.ordinary == 1


@pytest.mark.django_db(transaction=True)
def test_a_key_revoked_elsewhere_is_refused_when_the_news_arrives() -> None:
    recording.play()
    trader = a_trader()
    way = Way()
    latest.get_many(["AIG"])
    assert [way.get("symbols=AIG", trader.headers).status for _ in range(2)] == [200, 200]
    assert way.ordinary == 1

    revoke_key(account_id=trader.account.pk, key_id=trader.key_id, actor="user:1")

    assert way.get("symbols=AIG", trader.headers).status == 401


def test_in_one_process_or_step_by_step_an_answer_shows_the_store_as_it_is(
    trader: Trader, settings: Any
) -> None:
    settings.FEED_STEPPED = latest.store().is_remote
    way = Way()
    before = way.get("symbols=AIG", trader.headers).body
    held = latest.get("AIG").quote
    assert held is not None

    latest.put_many([held._replace(bid=held.bid - 100, sequence=held.sequence + 1)])

    assert way.get("symbols=AIG", trader.headers).body != before
    assert way.ordinary == 0


# --- the fragments ------------------------------------------------------------------------------


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(hot.time, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def bids(body: bytes | None) -> dict[str, float]:
    assert body is not None
    return {symbol: item["bp"] for symbol, item in orjson.loads(body)["quotes"].items()}


def test_the_bus_keeps_fragments_fresh(clock: Clock) -> None:
    fragments = Fragments()
    latest.put_many([quote(bid=1)])

    fragments.hear(Batch((quote(bid=2), quote("MSFT", bid=3)), 0, epoch=1, number=1))

    assert bids(fragments.join(["AAPL", "MSFT"])) == {"AAPL": 2, "MSFT": 3}


def test_without_news_the_store_is_read_after_two_seconds(clock: Clock) -> None:
    fragments = Fragments()
    latest.put_many([quote(bid=1)])
    assert bids(fragments.join(["AAPL"])) == {"AAPL": 1}

    latest.put_many([quote(sequence=2, bid=2)])
    clock.now += FRESH_SECONDS - 0.01
    assert bids(fragments.join(["AAPL"])) == {"AAPL": 1}
    clock.now += 0.01
    assert bids(fragments.join(["AAPL"])) == {"AAPL": 2}


def test_a_store_behind_the_bus_changes_nothing(clock: Clock) -> None:
    fragments = Fragments()
    fragments.hear(Batch((quote(sequence=5, bid=5),), 0, epoch=1, number=1))
    latest.put_many([quote(sequence=4, bid=4)])
    clock.now += FRESH_SECONDS

    assert bids(fragments.join(["AAPL"])) == {"AAPL": 5}


def test_what_the_store_has_lost_is_not_answered_from_memory(clock: Clock) -> None:
    fragments = Fragments()
    fragments.hear(Batch((quote(),), 0, epoch=1, number=1))
    clock.now += FRESH_SECONDS

    assert fragments.join(["AAPL"]) is None


@pytest.mark.parametrize(
    ("epoch", "number", "bid"),
    [(1, 2, 1), (1, 3, 2), (2, 2, 2), (0, 9, 1)],
    ids=["next", "gap", "takeover", "of an old feed"],
)
def test_after_a_gap_everything_is_read_anew(
    clock: Clock, epoch: int, number: int, bid: int
) -> None:
    fragments = Fragments()
    fragments.hear(Batch((quote(bid=1),), 0, epoch=1, number=1))
    latest.put_many([quote(sequence=2, bid=2)])

    fragments.hear(Batch((), 0, epoch=epoch, number=number))

    assert bids(fragments.join(["AAPL"])) == {"AAPL": bid}


# --- over Redis ---------------------------------------------------------------------------------


@pytest.fixture
def listener() -> Iterator[Listener]:
    if not settings.REDIS_URL:
        pytest.skip("needs a Redis: REDIS_URL")
    listener = Listener(Fragments(fresh_seconds=60), gate)
    thread = threading.Thread(target=listener.run)
    thread.start()
    yield listener
    listener.stop.set()
    thread.join(5)
    assert not thread.is_alive()


def eventually(happens: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 3
    while not happens():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.redis_bus
def test_another_process_is_heard_over_redis(listener: Listener) -> None:
    fragments = listener._fragments
    number = 0

    def heard() -> bool:
        nonlocal number
        number += 1
        batch = Batch((quote(sequence=number, bid=number),), 0, epoch=1, number=number)
        bus().publish(TICK_TOPICS[0], batch)
        time.sleep(0.05)
        body = fragments.join(["AAPL"])
        return body is not None and bids(body) == {"AAPL": number}

    eventually(heard)


@pytest.mark.redis_bus
@pytest.mark.django_db
def test_a_revocation_is_heard_over_redis(listener: Listener) -> None:
    trader = a_trader()
    trader.client().get("/v2/clock")
    assert gate.recognise(trader.key_id, trader.secret)

    def forgotten() -> bool:
        bus().publish(CONTROL, {"kind": "key_revoked", "key_id": trader.key_id})
        time.sleep(0.05)
        return gate.recognise(trader.key_id, trader.secret) is None

    eventually(forgotten)
