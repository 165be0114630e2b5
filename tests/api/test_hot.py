"""The short way answers what the ordinary way would have answered, or leaves it to that."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.signals import request_finished, request_started
from django.db import close_old_connections, connection
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from access.gate import gate
from access.keys import revoke_key
from access.limits import Limiter
from access.tokens import Alone
from config.observability.requests import request_name
from config.server.http import Answer, call
from config.wsgi import django_application
from quotes import latest
from quotes.api.hot import PATH, ShortWay
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

    def get_from_memory(self, query: str, headers: dict[str, str]) -> Answer | None:
        """What a server hears that asks without a thread; None when it has to take one."""
        found = self.application.from_memory[PATH](query, environ(query, headers))
        return found and Answer(
            200, [(name.lower().encode(), value.encode()) for name, value in found[0]], found[1]
        )


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
    stop_the_minute(monkeypatch)


def stop_the_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    """A minute of the test's own, which does not turn while its requests are counted.

    It is to come: Redis forgets what was drawn of one that has passed.
    """
    now = time.time() + 3600
    monkeypatch.setattr("access.limits.limiter", Limiter())
    for counting in ("access.gate", "access.limits"):
        monkeypatch.setattr(f"{counting}.time", SimpleNamespace(time=lambda: now))


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


@pytest.mark.parametrize("query", [*QUERIES, *LEFT_TO_DJANGO])
def test_memory_answers_what_the_other_door_has_just_answered(trader: Trader, query: str) -> None:
    way = Way()
    threaded = way.get(query, trader.headers)

    short = way.get_from_memory(query, trader.headers)

    assert (short is not None) == (query in QUERIES and latest.store().is_remote)
    if short is not None:
        assert (short.status, short.body) == (threaded.status, threaded.body)
        assert remembered(short.headers) == remembered(threaded.headers)


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

    way = Way()
    short = way.get(query, trader.headers)
    ordinary = ask(django_application, environ(query, trader.headers))
    memory = way.get_from_memory(query, trader.headers)

    assert short.status < 500
    assert (short.status, short.body) == (ordinary.status, ordinary.body)
    assert memory is None or (memory.status, memory.body) == (200, ordinary.body)


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


# --- without a thread ---------------------------------------------------------------------------


@pytest.fixture
def warm(trader: Trader) -> Way:
    """A way that has answered before, on a store that is shared."""
    if not latest.store().is_remote:
        pytest.skip("needs a Redis: REDIS_URL")
    way = Way()
    assert way.get("symbols=AIG", trader.headers).status == 200
    assert way.get_from_memory("symbols=AIG", trader.headers) is not None
    return way


def test_memory_waits_for_nothing(
    warm: Way, trader: Trader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither for quotes, nor for tokens, nor for the thread that hears the bus."""

    def asked(*_: Any) -> Any:
        pytest.fail("somebody was asked")

    monkeypatch.setattr("access.tokens.Alone.draw", asked)
    monkeypatch.setattr("access.redis_tokens.RedisTokens.draw", asked)
    monkeypatch.setattr("quotes.latest.store", asked)
    monkeypatch.setattr("access.lookups._load_key", asked)
    ask_memory = warm.get_from_memory

    assert ask_memory("symbols=AIG", trader.headers) is not None
    assert ask_memory("symbols=AIG,IBM", trader.headers) is None  # IBM was never read
    assert Way().get_from_memory("symbols=AIG", trader.headers) is None  # a first request
    monkeypatch.setattr("access.limits.limiter", Limiter())
    assert ask_memory("symbols=AIG", trader.headers) is None  # no tokens at hand
    gate.hear({"kind": "key_revoked", "key_id": trader.key_id})
    assert ask_memory("symbols=AIG", trader.headers) is None


def test_memory_answers_nobody_beyond_the_limit(warm: Way, trader: Trader, settings: Any) -> None:
    limiter = Limiter(Alone())
    settings.RATE_LIMIT_PER_MINUTE = 2
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("access.limits.limiter", limiter)
        answers = [warm.get("symbols=AIG", trader.headers)]
        answers += [warm.get_from_memory("symbols=AIG", trader.headers) for _ in range(2)]
        refused = warm.get("symbols=AIG", trader.headers)

    assert [answer and answer.status for answer in answers] == [200, 200, None]
    assert refused.status == 429


@pytest.mark.parametrize(
    "wrong",
    [
        {"APCA-API-SECRET-KEY": "wrong"},
        {"APCA-API-KEY-ID": "NOSUCH"},
        {"Host": "elsewhere.example"},
        {"Host": ""},
    ],
)
def test_memory_lets_nobody_else_in(warm: Way, trader: Trader, wrong: dict[str, str]) -> None:
    assert warm.get_from_memory("symbols=AIG", {**trader.headers, **wrong}) is None


def test_a_gap_on_the_bus_empties_memory(warm: Way, trader: Trader) -> None:
    warm.application._fragments.forget()

    assert warm.get_from_memory("symbols=AIG", trader.headers) is None
