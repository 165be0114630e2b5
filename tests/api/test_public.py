"""What the edge may keep: the same for everybody, and written in one way only."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from quotes.halts import halt, resume
from quotes.models import Instrument
from tests.api import recording
from tests.people import a_trader

pytestmark = pytest.mark.django_db


@pytest.fixture
def client() -> Client:
    recording.play()
    return Client()


@pytest.mark.parametrize("path", ["/public/market", "/public/quotes?symbols=AIG,IBM"])
def test_answer_depends_on_nobody(client: Client, path: str) -> None:
    plain = client.get(path)
    trader = a_trader()
    known = trader.browser().get(path, headers=trader.headers)

    assert plain.status_code == 200
    assert plain.content == known.content
    for answer in (plain, known):
        assert "s-maxage=" in answer.headers["Cache-Control"]
        assert not answer.cookies
        named = {name.lower() for name in answer.headers}
        assert "set-cookie" not in named
        assert not [name for name in named if name.startswith("x-ratelimit")]
        assert "cookie" not in answer.headers.get("Vary", "").lower()


def test_wrong_key_is_not_even_looked_at(client: Client) -> None:
    headers = {"APCA-API-KEY-ID": "wrong", "APCA-API-SECRET-KEY": "wrong"}
    assert client.get("/public/market", headers=headers).status_code == 200


def test_quotes_are_those_that_programs_see(client: Client) -> None:
    private = a_trader().client().get("/v2/stocks/quotes/latest?symbols=AIG,IBM").json()
    assert client.get("/public/quotes?symbols=AIG%2CIBM").json() == private
    assert private["quotes"].keys() == {"AIG", "IBM"}


@pytest.mark.parametrize(
    "query",
    [
        "",
        "?symbols=",
        "?symbols=IBM,AIG",
        "?symbols=AIG,AIG",
        "?symbols=aig",
        "?symbols=AIG,",
        "?symbols=AIG&feed=iex",
        "?symbols=AIG&symbols=IBM",
        "?symbols=AIG&_=1",
        "?symbols=AIG&",
        "?&symbols=AIG",
        "?symbols=%41IG",
        "?symbols=" + ",".join(f"S{n:02}" for n in range(51)),
        "?symbols=A!",
    ],
)
def test_other_spellings_are_refused_and_not_kept(client: Client, query: str) -> None:
    answer = client.get("/public/quotes" + query)
    assert (answer.status_code, answer.json()["code"]) == (400, 40010001)
    assert answer.headers["Cache-Control"] == "private, no-store"


def test_fifty_symbols_are_allowed(client: Client) -> None:
    symbols = ",".join(f"S{n:02}" for n in range(50))
    assert client.get(f"/public/quotes?symbols={symbols}").json() == {"quotes": {}}


def test_market_list_takes_no_parameters(client: Client) -> None:
    assert client.get("/public/market?x=1").status_code == 400
    assert client.post("/public/market").status_code == 405
    assert client.get("/public/nothing").status_code == 404


def test_warm_market_list_asks_the_database_nothing(client: Client) -> None:
    first = client.get("/public/market")
    with CaptureQueriesContext(connection) as queries:
        assert client.get("/public/market").content == first.content
    assert len(queries) == 0


@pytest.mark.django_db(transaction=True)
def test_halt_and_resumption_show_at_once(client: Client) -> None:
    def tradable() -> tuple[bool, bool]:
        listed = {each["symbol"]: each for each in client.get("/public/market").json()["assets"]}
        detail = a_trader().client().get("/v2/assets/AIG").json()
        return listed["AIG"]["tradable"], detail["tradable"]

    instrument = Instrument.objects.get(symbol="AIG")
    assert tradable() == (True, True)
    halt(instrument, reason="news", actor="operator:1")
    assert tradable() == (False, False)
    resume(instrument, actor="operator:1")
    assert tradable() == (True, True)
