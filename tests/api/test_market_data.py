"""Market data as alpaca-py's own models read it."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import Any

import pytest
from alpaca.common.enums import Sort
from alpaca.data.enums import DataFeed
from alpaca.data.historical import StockHistoricalDataClient
from alpaca.data.models import Bar, BarSet, Quote, QuoteSet, Snapshot, Trade, TradeSet
from alpaca.data.requests import StockQuotesRequest, StockTradesRequest
from django.test import Client

from quotes import history
from quotes import ticks as tape
from quotes.streaming.codec import rfc3339, trade_item
from quotes.tick_history import store
from quotes.ticks import to_micros
from tests.api import recording
from tests.people import a_trader

pytestmark = pytest.mark.django_db

DAY = "start=2013-10-07T13:30:00Z"


@pytest.fixture
def client() -> Client:
    recording.play()
    return a_trader().client()


def get(client: Client, path: str) -> Any:
    answer = client.get(f"/v2/stocks/{path}")
    assert answer.status_code == 200, answer.content
    return answer.json()


def get_all(client: Client, path: str) -> tuple[list[tuple[str, str]], int]:
    """(symbol, time) of every bar of all pages, and how many pages there were."""
    seen, pages, token = [], 0, None
    while True:
        answer = get(client, path + (f"&page_token={token}" if token else ""))
        seen += [(symbol, bar["t"]) for symbol, bars in answer["bars"].items() for bar in bars]
        pages, token = pages + 1, answer["next_page_token"]
        if token is None:
            return seen, pages
        assert token


def refusal(client: Client, path: str) -> dict[str, Any]:
    answer = client.get(f"/v2/stocks/{path}")
    assert (answer.status_code, answer.json()["code"]) == (400, 40010001), answer.content
    return answer.json()


def test_latest_quote_reads_back(client: Client) -> None:
    raw = get(client, "quotes/latest?symbols=IBM,AIG,NOSUCH")

    assert raw.keys() == {"quotes"}
    assert raw["quotes"].keys() == {"AIG", "IBM"}
    quote = Quote("AIG", raw["quotes"]["AIG"])
    assert (quote.bid_price, quote.bid_size, quote.bid_exchange) == (50.0, 300, "P")
    assert (quote.ask_price, quote.ask_size, quote.ask_exchange) == (50.01, 200, "Q")
    assert quote.timestamp == datetime(2013, 10, 7, 14, 4, 59, 998750, tzinfo=UTC)


def test_latest_trade_reads_back(client: Client) -> None:
    trade = Trade("IBM", get(client, "trades/latest?symbols=IBM")["trades"]["IBM"])

    assert (trade.price, trade.size, trade.exchange, trade.conditions) == (150.005, 100, "D", ["@"])
    assert isinstance(trade.id, int)


def test_latest_bar_is_the_last_finished_minute(client: Client) -> None:
    bar = Bar("AIG", get(client, "bars/latest?symbols=AIG&feed=iex")["bars"]["AIG"])

    assert bar.timestamp == datetime(2013, 10, 7, 14, 4, tzinfo=UTC)
    assert (bar.open, bar.high, bar.low, bar.close) == (50.34, 50.365, 50.335, 50.35)
    assert (bar.volume, bar.trade_count, bar.vwap) == (1034, 10, 50.3433)


@pytest.mark.parametrize("kind", ["quote", "trade", "bar"])
def test_single_form_holds_the_same_item(client: Client, kind: str) -> None:
    many = get(client, f"{kind}s/latest?symbols=IBM")
    one = get(client, f"ibm/{kind}s/latest")

    assert one == {"symbol": "IBM", kind: many[f"{kind}s"]["IBM"]}


@pytest.mark.parametrize("path", ["quotes/latest", "trades/latest", "bars/latest", "snapshot"])
def test_single_form_of_an_unknown_symbol_is_404(client: Client, path: str) -> None:
    answer = client.get(f"/v2/stocks/NOSUCH/{path}")

    assert (answer.status_code, answer.json()["code"]) == (404, 40410000)


@pytest.mark.parametrize("path", ["quotes", "trades", "bars"])
def test_nothing_known_is_an_empty_object(client: Client, path: str) -> None:
    query = f"{path}?symbols=NOSUCH&timeframe=1Min"

    assert get(client, f"{path}/latest?symbols=NOSUCH") == {path: {}}
    assert get(client, query) == {path: {}, "next_page_token": None}
    assert get(client, "snapshots?symbols=NOSUCH") == {}
    single = get(client, f"NOSUCH/{path}?timeframe=1Min")
    assert single == {path: [], "symbol": "NOSUCH", "next_page_token": None}


def test_snapshot_reads_back(client: Client) -> None:
    raw = get(client, "snapshots?symbols=AIG,IBM")
    snapshot = Snapshot("AIG", raw["AIG"])

    assert raw.keys() == {"AIG", "IBM"}
    assert snapshot.latest_quote.bid_price == 50.0
    assert snapshot.latest_trade.price == 50.005
    assert snapshot.minute_bar.timestamp == datetime(2013, 10, 7, 14, 4, tzinfo=UTC)
    assert snapshot.daily_bar.timestamp == datetime(2013, 10, 7, 4, tzinfo=UTC)
    assert snapshot.previous_daily_bar.timestamp == datetime(2013, 10, 4, 4, tzinfo=UTC)
    assert snapshot.daily_bar.vwap is None
    assert get(client, "AIG/snapshot") == {"symbol": "AIG", **raw["AIG"]}


def test_bars_read_back_and_show_no_future(client: Client) -> None:
    raw = get(client, f"bars?symbols=AIG,IBM&timeframe=1Min&{DAY}&end=2030-01-01")
    bars = BarSet(raw["bars"])["AIG"]

    assert [bar.timestamp.minute for bar in bars[:3]] == [30, 31, 32]
    assert bars[-1].timestamp == recording.NOW
    assert len(bars) == 36


def test_range_is_inclusive_and_defaults_to_the_markets_day(client: Client) -> None:
    minute = "timeframe=1Min&symbols=AIG"
    inside = get(client, f"bars?{minute}&start=2013-10-07T13:31:00Z&end=2013-10-07T13:33:00Z")
    fraction = get(
        client, f"bars?{minute}&start=2013-10-07T13:31:00.000000001Z&end=2013-10-07T13:33:00Z"
    )
    by_default = get(client, f"bars?{minute}")

    assert [bar["t"][14:16] for bar in inside["bars"]["AIG"]] == ["31", "32", "33"]
    assert len(fraction["bars"]["AIG"]) in (2, 3)  # we keep microseconds
    assert len(by_default["bars"]["AIG"]) == 36


@pytest.mark.parametrize(
    ("start", "count"),
    [
        ("2013-10-07T13:59:00Z", 7),
        ("2013-10-07T13:59:00%2B00:00", 7),
        ("2013-10-07T13:59:00+00:00", 7),  # the plus sign arrives as a blank
        ("2013-10-07T09:59:00-04:00", 7),
        ("2013-10-07T13:59:00.000001Z", 6),
        ("2013-10-07", 36),
    ],
)
def test_instants_are_read_as_clients_write_them(client: Client, start: str, count: int) -> None:
    answer = get(client, f"bars?symbols=AIG&timeframe=1Min&start={start}")

    assert len(answer["bars"]["AIG"]) == count


def test_days_are_labelled_midnight_new_york_and_a_date_includes_its_day(client: Client) -> None:
    answer = get(client, "AIG/bars?timeframe=1Day&start=2013-10-02&end=2013-10-04")

    assert [bar["t"][:16] for bar in answer["bars"]] == [
        "2013-10-02T04:00", "2013-10-03T04:00", "2013-10-04T04:00",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("timeframe", "labels"),
    [
        ("15Min", ["13:30", "13:45", "14:00"]),
        ("15T", ["13:30", "13:45", "14:00"]),
        ("1Hour", ["13:00", "14:00"]),
        ("1H", ["13:00", "14:00"]),
    ],
)
def test_longer_bars_are_aggregates(client: Client, timeframe: str, labels: list[str]) -> None:
    minutes = get(client, f"AIG/bars?timeframe=1Min&{DAY}")["bars"]
    longer = get(client, f"AIG/bars?timeframe={timeframe}&start=2013-10-07T13:00:00Z")["bars"]

    assert [bar["t"][11:16] for bar in longer] == labels
    assert sum(bar["v"] for bar in longer) == sum(bar["v"] for bar in minutes)
    assert longer[0]["o"] == minutes[0]["o"]
    assert longer[-1]["c"] == minutes[-1]["c"]


@pytest.mark.parametrize("sort", ["asc", "desc"])
@pytest.mark.parametrize("limit", [1, 7, 36, 71, 72])
def test_pages_hold_everything_once_in_order(client: Client, sort: str, limit: int) -> None:
    path = f"bars?symbols=IBM,AIG&timeframe=1Min&{DAY}&sort={sort}"
    whole, _ = get_all(client, f"{path}&limit=10000")

    paged, pages = get_all(client, f"{path}&limit={limit}")

    assert len(whole) == 72
    assert paged == whole
    assert pages == -(-72 // limit)
    symbols = [symbol for symbol, _ in whole]
    assert symbols == sorted(symbols)


def test_quotes_and_trades_shown_as_latest_are_found_in_history(client: Client) -> None:
    latest = get(client, "quotes/latest?symbols=AIG,IBM")["quotes"]
    first = get(client, f"quotes?symbols=AIG,IBM&{DAY}&limit=1")
    second = get(client, f"quotes?symbols=AIG,IBM&{DAY}&page_token={first['next_page_token']}")

    assert first["quotes"] == {"AIG": [latest["AIG"]]}
    assert second == {"quotes": {"IBM": [latest["IBM"]]}, "next_page_token": None}
    assert QuoteSet(second["quotes"])["IBM"][0].ask_price == 150.01
    trades = get(client, f"AIG/trades?{DAY}")
    assert TradeSet({"AIG": trades["trades"]})["AIG"][0].price == 50.005
    assert get(client, "AIG/trades?end=2013-10-04&start=2013-10-04")["trades"] == []


class Oracle(StockHistoricalDataClient):
    """alpaca-py's own client, down to the page tokens it follows; only its HTTP is the test's."""

    def __init__(self, client: Client) -> None:
        super().__init__("key", "secret")
        self._client = client
        self.pages = 0

    def get(self, path: str, data: Any = None, **_: Any) -> Any:
        sent = {name: value for name, value in (data or {}).items() if value is not None}
        answer = self._client.get(f"/v2{path}", sent)
        assert answer.status_code == 200, answer.content
        self.pages += 1
        return answer.json()


def some_ticks(count: int) -> list[tape.Quote | tape.Trade]:
    """As many quotes and trades of each symbol, three at each instant, before what is latest."""
    ticks: list[tape.Quote | tape.Trade] = []
    for symbol in recording.SYMBOLS:
        for n in range(count):
            at_us = recording.OPENED * 1_000_000 + n // 3
            ticks.append(tape.Quote(symbol, at_us, 10_000, 1, 10_100 + n, 2, n + 1, 1))
            ticks.append(tape.Trade(symbol, at_us, 10_000 + n, 1, n + 1, 1))
    return ticks


@pytest.mark.parametrize("sort", ["asc", "desc"])
@pytest.mark.parametrize("kind", ["quotes", "trades"])
def test_client_pages_through_the_ticks_of_a_day(client: Client, kind: str, sort: str) -> None:
    store.insert(some_ticks(50), history.instrument_ids(recording.SYMBOLS))
    oracle = Oracle(client)
    made = {"quotes": StockQuotesRequest, "trades": StockTradesRequest}[kind]
    query = made(
        symbol_or_symbols=["IBM", "AIG"],
        start=datetime(2013, 10, 7, 13, 30, tzinfo=UTC),
        sort=Sort(sort),
        feed=DataFeed.IEX,
    )
    read = {"quotes": oracle.get_stock_quotes, "trades": oracle.get_stock_trades}[kind]

    whole = read(query)
    parts = read_in_pages(client, f"{kind}?symbols=IBM,AIG&{DAY}&sort={sort}", kind, 7)

    assert [len(whole[symbol]) for symbol in ("AIG", "IBM")] == [51, 51]
    assert parts == read_in_pages(client, f"{kind}?symbols=IBM,AIG&{DAY}&sort={sort}", kind, 10_000)
    for symbol, items in parts.items():
        assert [one.timestamp for one in whole[symbol]] == [
            datetime.fromisoformat(item["t"]) for item in items
        ]
        assert items == sorted(items, key=lambda item: item["t"], reverse=sort == "desc")


def read_in_pages(client: Client, path: str, kind: str, limit: int) -> dict[str, list[Any]]:
    merged: dict[str, list[Any]] = {}
    token = ""
    while True:
        answer = get(client, f"{path}&limit={limit}&page_token={token}")
        for symbol, items in answer[kind].items():
            merged.setdefault(symbol, []).extend(items)
        token = answer["next_page_token"]
        if token is None:
            return merged
        assert sum(map(len, answer[kind].values())) == limit


def test_trades_keep_the_ids_they_were_streamed_with(client: Client) -> None:
    streamed = [tick for tick in some_ticks(5) if isinstance(tick, tape.Trade)]
    store.insert(streamed, history.instrument_ids(recording.SYMBOLS))

    found = get(client, f"AIG/trades?{DAY}&end=2013-10-07T13:31:00Z")["trades"]

    assert found == [trade_item(tick, rfc3339) for tick in streamed if tick.symbol == "AIG"]


def test_ticks_after_market_time_are_not_shown(client: Client) -> None:
    future = tape.Trade("AIG", to_micros(recording.NOW) + 1, 10_000, 1, 99, 1)
    store.insert([future], history.instrument_ids(recording.SYMBOLS))

    found = get(client, f"AIG/trades?{DAY}&end=2030-01-01")["trades"]

    assert [item["p"] for item in found] == [50.005]


@pytest.mark.parametrize("token", ["AIG|1", "AIG|1|2|3", "AIG|1|x", "AIG|-1|2", "IBM|1|2"])
def test_page_token_of_something_else_is_400(client: Client, token: str) -> None:
    encoded = base64.urlsafe_b64encode(token.encode()).decode()
    refusal(client, f"AIG/trades?{DAY}&page_token={encoded}")


@pytest.mark.parametrize(
    "query",
    [
        "",
        "symbols=",
        "symbols=,",
        "symbols=A B",
        "symbols=%00",
        "symbols=AIG;DROP",
        "symbols=" + ",".join(f"A{number}" for number in range(1001)),
        "symbols=ABCDEFGHIJKLMNOPQRSTUV",
        "symbols=AIG&feed=nosuch",
    ],
)
@pytest.mark.parametrize("path", ["quotes/latest", "snapshots", "bars", "trades"])
def test_bad_symbols_and_feeds_are_400(client: Client, path: str, query: str) -> None:
    refusal(client, f"{path}?timeframe=1Min&{query}")


@pytest.mark.parametrize(
    "query",
    [
        "timeframe=",
        "timeframe=0Min",
        "timeframe=60Min",
        "timeframe=24Hour",
        "timeframe=2Day",
        "timeframe=5Month",
        "timeframe=1Fortnight",
        "timeframe=%F0%9F%92%A9",
        "timeframe=1Min&limit=0",
        "timeframe=1Min&limit=10001",
        "timeframe=1Min&limit=ten",
        "timeframe=1Min&limit=NaN",
        "timeframe=1Min&sort=up",
        "timeframe=1Min&start=yesterday",
        "timeframe=1Min&start=2013-10-07T13:30:00",
        "timeframe=1Min&start=2013-13-07",
        "timeframe=1Min&start=1381152600",
        "timeframe=1Min&start=0001-01-01T00:00:00%2B14:00",
        "timeframe=1Min&end=9999-12-31",
        "timeframe=1Min&start=2013-10-07&end=2013-10-01",
        "timeframe=1Min&page_token=x",
        "timeframe=1Min&page_token=%FF",
        "timeframe=1Min&page_token=QUlHfHg=",  # AIG|x
        "timeframe=1Min&page_token=QUlHfC0x",  # AIG|-1
        "timeframe=1Min&page_token=TVNGVHwxMzgxMTUyNjAw",  # of a symbol that was not asked for
        "timeframe=1Min&page_token=" + "QUlH" * 100,
    ],
)
def test_bad_history_parameters_are_400(client: Client, query: str) -> None:
    refusal(client, f"bars?symbols=AIG&{query}")


@pytest.mark.parametrize("timeframe", ["1Min", "1Week", "12Month"])
@pytest.mark.parametrize(
    "bounds", ["start=0001-01-01", "start=1800-01-01&end=1900-01-01", "start=9000-01-01"]
)
def test_far_ranges_are_answered(client: Client, timeframe: str, bounds: str) -> None:
    get(client, f"bars?symbols=AIG&timeframe={timeframe}&{bounds}")


def test_what_does_not_apply_is_ignored(client: Client) -> None:
    answer = get(
        client,
        "bars?symbols=AIG&timeframe=1Min&adjustment=all&asof=-&currency=USD&feed=sip&foo=bar"
        "&page_token=&start=&end=",
    )

    assert len(answer["bars"]["AIG"]) == 36


def test_a_page_over_many_symbols_costs_a_bounded_number_of_queries(
    client: Client, django_assert_max_num_queries: Any
) -> None:
    client.get("/v2/stocks/quotes/latest?symbols=AIG,IBM")
    with django_assert_max_num_queries(0):
        get(client, "quotes/latest?symbols=AIG,IBM")
    with django_assert_max_num_queries(3):  # one of them may be the clock's
        get(client, "snapshots?symbols=AIG,IBM")
