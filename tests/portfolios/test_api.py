"""The wire, with the official client's own models as the judge."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from alpaca.trading.models import AccountConfiguration, Position, TradeAccount, Watchlist
from django.test import Client

from access.keys import create_key
from portfolios.models import Account
from portfolios.models import Position as PositionRow
from tests.portfolios.factories import funded_account, make_instrument, new_york, trade
from tests.portfolios.market import set_market_time, set_trade

pytestmark = pytest.mark.django_db

NOON = new_york("2024-03-05 12:00")


class Program:
    """A trading program with a key: JSON in, status and JSON out."""

    def __init__(self, account: Account) -> None:
        key, secret = create_key(account_id=account.pk, user=account.user, actor="test")
        headers = {"APCA-API-KEY-ID": key.key_id, "APCA-API-SECRET-KEY": secret}
        self._client = Client(headers=headers)

    def call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        data = "" if body is None else json.dumps(body)
        answer = self._client.generic(method, path, data, content_type="application/json")
        return answer.status_code, answer.json() if answer.content else None

    def get(self, path: str) -> Any:
        status, body = self.call("GET", path)
        assert status == 200, body
        return body


@pytest.fixture
def account() -> Account:
    set_market_time(NOON)
    account = funded_account("10000")
    for symbol, exchange in (("AAPL", "NASDAQ"), ("IBM", "NYSE")):
        make_instrument(symbol, exchange=exchange, name=symbol)
        set_trade(symbol, "110")
    return account


@pytest.fixture
def program(account) -> Program:
    return Program(account)


def error(answer: tuple[int, Any]) -> tuple[int, int]:
    status, body = answer
    assert body["message"]
    return status, body["code"]


def test_the_account_parses_and_adds_up(account, program):
    trade(account, "buy", "3", "100.05", at=NOON)
    trade(account, "sell", "2", "120", instrument=make_instrument("IBM"), at=NOON)

    body = program.get("/v2/account")

    parsed = TradeAccount(**body)
    assert parsed.id == account.public_id
    assert parsed.account_number == account.number
    assert parsed.multiplier == "1"
    assert parsed.cash == "9939.85"
    assert parsed.long_market_value == "330"
    assert parsed.short_market_value == "-220"
    assert parsed.equity == parsed.portfolio_value == "10049.85"
    assert parsed.buying_power == "9459.85"  # twice the 240 that IBM was sold for
    assert all(
        isinstance(value, str) for name, value in body.items() if name.endswith(("power", "margin"))
    )
    assert body["created_at"] == "2024-03-05T17:00:00Z"


def test_every_key_of_the_account_is_there(program):
    assert set(program.get("/v2/account")) >= set(TradeAccount.model_fields)


def test_a_frozen_account_says_so(account, program):
    Account.objects.update(frozen=True, trading_suspended=True)

    body = program.get("/v2/account")

    assert body["trading_blocked"] is body["trade_suspended_by_user"] is True


def test_configurations_are_read_and_changed(program):
    parsed = AccountConfiguration(**program.get("/v2/account/configurations"))
    parsed.no_shorting = True

    status, body = program.call("PATCH", "/v2/account/configurations", parsed.model_dump())

    assert status == 200
    assert AccountConfiguration(**body) == parsed
    assert AccountConfiguration(**program.get("/v2/account/configurations")) == parsed


def test_a_cash_account_does_not_sell_short(account, program):
    assert program.get("/v2/account/configurations")["no_shorting"] is False
    assert program.get("/v2/account")["shorting_enabled"] is False


def test_a_configuration_that_is_not_offered_is_refused(program):
    answer = program.call("PATCH", "/v2/account/configurations", {"max_margin_multiplier": "3"})

    assert error(answer) == (422, 40010001)


def test_positions_parse_with_both_signs(account, program):
    trade(account, "buy", "3", "100.05", at=NOON)
    trade(account, "sell", "2.5", "120", instrument=make_instrument("IBM"), at=NOON)
    PositionRow.objects.filter(instrument__symbol="AAPL").update(hold_quantity=Decimal("0.5"))

    long, short = (Position(**one) for one in program.get("/v2/positions"))

    assert (long.symbol, long.side, long.qty, long.qty_available) == ("AAPL", "long", "3", "2.5")
    assert (long.avg_entry_price, long.cost_basis) == ("100.05", "300.15")
    assert (long.market_value, long.unrealized_pl) == ("330", "29.85")
    assert long.unrealized_plpc == "0.0994502749"
    assert long.current_price == "110"
    assert long.lastday_price is None
    assert (short.symbol, short.side, short.qty) == ("IBM", "short", "-2.5")
    assert (short.market_value, short.cost_basis, short.unrealized_pl) == ("-275", "-300", "25")


def test_one_position_is_found_by_symbol_and_by_id(account, program):
    trade(account, "buy", "1", "100", at=NOON)
    instrument = make_instrument("AAPL")

    by_symbol = program.get("/v2/positions/AAPL")

    assert program.get(f"/v2/positions/{instrument.public_id}") == by_symbol
    assert by_symbol in program.get("/v2/positions")


@pytest.mark.parametrize("which", ["IBM", "NOPE", str(uuid4()), "%00", "%F0%9F%92%B8" * 50])
def test_a_position_that_is_not_held_does_not_exist(account, program, which):
    trade(account, "buy", "1", "100", at=NOON)
    trade(account, "buy", "1", "100", instrument=make_instrument("IBM"), at=NOON)
    trade(account, "sell", "1", "100", instrument=make_instrument("IBM"), at=NOON)

    assert error(program.call("GET", f"/v2/positions/{which}")) == (404, 40410000)


def test_positions_of_another_account_stay_unseen(account):
    trade(account, "buy", "1", "100", at=NOON)
    stranger = Program(funded_account())

    assert stranger.get("/v2/positions") == []
    assert error(stranger.call("GET", "/v2/positions/AAPL")) == (404, 40410000)


def test_a_position_nobody_priced_has_nulls_where_a_price_is_needed(account, program):
    trade(account, "buy", "1", "100", instrument=make_instrument("XYZ"), at=NOON)

    parsed = Position(**program.get("/v2/positions/XYZ"))

    assert parsed.market_value is parsed.current_price is parsed.unrealized_pl is None
    assert parsed.cost_basis == "100"


def test_a_watchlist_lives_by_its_id(program):
    status, created = program.call(
        "POST", "/v2/watchlists", {"name": "Tech", "symbols": ["IBM", "AAPL"]}
    )
    assert status == 200
    parsed = Watchlist(**created)
    assert [asset.symbol for asset in parsed.assets or []] == ["IBM", "AAPL"]
    path = f"/v2/watchlists/{parsed.id}"

    assert program.get("/v2/watchlists") == [created]
    assert program.get(path) == created
    status, renamed = program.call("PUT", path, {"name": "Old", "symbols": ["AAPL"]})
    assert (status, renamed["name"], len(renamed["assets"])) == (200, "Old", 1)
    status, longer = program.call("POST", path, {"symbol": "IBM"})
    assert (status, len(longer["assets"])) == (200, 2)
    status, shorter = program.call("DELETE", f"{path}/AAPL")
    assert (status, [asset["symbol"] for asset in shorter["assets"]]) == (200, ["IBM"])
    assert program.call("DELETE", path) == (204, None)
    assert error(program.call("GET", path)) == (404, 40410000)


def test_a_watchlist_lives_by_its_name(program):
    program.call("POST", "/v2/watchlists", {"name": "My list"})
    path = "/v2/watchlists:by_name?name=My%20list"

    assert program.get(path)["assets"] == []
    status, longer = program.call("POST", path, {"symbol": "IBM"})
    assert (status, len(longer["assets"])) == (200, 1)
    status, emptied = program.call("PUT", path, {"symbols": []})
    assert (status, emptied["assets"]) == (200, [])
    assert program.call("DELETE", path) == (204, None)
    assert error(program.call("GET", path)) == (404, 40410000)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, (422, 40010001)),
        ({"name": None}, (422, 40010001)),
        ({"name": "x" * 65}, (422, 40010001)),
        ({"name": "Tech"}, (422, 40010001)),
        ({"name": "New", "symbols": "AAPL"}, (422, 40010001)),
        ({"name": "New", "symbols": ["A"] * 501}, (422, 40010001)),
        ({"name": "New", "symbols": [{"symbol": "AAPL"}]}, (422, 40010001)),
        ({"name": "New", "symbols": ["NOPE"]}, (404, 40410000)),
    ],
)
def test_a_bad_watchlist_is_refused_and_none_is_made(program, body, expected):
    program.call("POST", "/v2/watchlists", {"name": "Tech"})

    assert error(program.call("POST", "/v2/watchlists", body)) == expected

    assert [one["name"] for one in program.get("/v2/watchlists")] == ["Tech"]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/v2/watchlists/no-uuid", None),
        ("GET", f"/v2/watchlists/{uuid4()}", None),
        ("PUT", f"/v2/watchlists/{uuid4()}", {"name": "x"}),
        ("POST", f"/v2/watchlists/{uuid4()}", {"symbol": "AAPL"}),
        ("DELETE", f"/v2/watchlists/{uuid4()}", None),
        ("DELETE", f"/v2/watchlists/{uuid4()}/AAPL", None),
        ("GET", "/v2/watchlists:by_name?name=nobody", None),
    ],
)
def test_an_unknown_watchlist_is_not_found(program, method, path, body):
    assert error(program.call(method, path, body)) == (404, 40410000)


def test_watchlists_of_another_account_stay_unseen(account, program):
    _, created = program.call("POST", "/v2/watchlists", {"name": "Tech"})
    stranger = Program(funded_account())

    assert stranger.get("/v2/watchlists") == []
    for method in ("GET", "DELETE"):
        answer = stranger.call(method, f"/v2/watchlists/{created['id']}")
        assert error(answer) == (404, 40410000)
    assert len(program.get("/v2/watchlists")) == 1


@pytest.mark.parametrize("path", ["/v2/account", "/v2/positions", "/v2/watchlists"])
def test_without_a_key_nothing_is_shown(path):
    answer = Client().get(path)

    assert answer.status_code == 401
    assert answer.json()["code"] == 40110000
