from datetime import date
from pathlib import Path

import pytest

from quotes.bars import Aggregator, midnight
from quotes.calendar import EXCHANGE
from quotes.feeds.base import FeedError
from quotes.feeds.conditions import auction_of, meaning
from quotes.feeds.lean import LeanFeed
from quotes.ticks import MICROSECONDS, Quote, Trade
from tests.quotes.lean_folder import DAY, NINE_MS, lean_file, write_lean_folder

MIDNIGHT_US = midnight(DAY) * MICROSECONDS
NINE_US = MIDNIGHT_US + NINE_MS * 1000


def read_all(folder: Path, symbols: list[str] | None = None, on: date = DAY) -> list:
    feed = LeanFeed(folder, on, symbols)
    ticks = []
    while some := feed.read(feed.end_us):
        ticks += some
    assert feed.next_us() is None
    return ticks


def quotes_of(folder: Path, *rows: str) -> list[Quote]:
    lean_file(folder, "tick", "IBM", "quote", *rows)
    return read_all(folder)


# --- quotes -------------------------------------------------------------------------------------


def test_a_bid_row_and_the_ask_row_after_it_are_one_quote(tmp_path: Path):
    assert quotes_of(tmp_path, "1000,500,100,0,0,P,1,0", "1000,0,0,600,200,Q,1,0") == [
        Quote(
            "IBM", MIDNIGHT_US + MICROSECONDS, 500, 100, 600, 200, 1,
            bid_exchange="P", ask_exchange="Q",
        )
    ]  # fmt: skip


def test_two_changes_in_one_millisecond_are_two_quotes(tmp_path: Path):
    quotes = quotes_of(
        tmp_path,
        "1000,500,100,0,0,P,1,0",
        "1000,0,0,600,200,Q,1,0",
        "1000,500,100,0,0,P,1,0",
        "1000,0,0,599,100,K,1,0",
    )
    assert [(quote.bid, quote.ask, quote.sequence) for quote in quotes] == [
        (500, 600, 1),
        (500, 599, 2),
    ]


@pytest.mark.parametrize(
    ("rows", "sides"),
    [
        (["1,0,0,600,2,Q,1,0"], [(0, 600)]),
        (["1,500,1,0,0,P,1,0"], [(500, 0)]),
        (["1,500,1,0,0,P,1,0", "2,0,0,600,2,Q,1,0"], [(500, 0), (0, 600)]),
        (["1,500,1,0,0,P,1,0", "1,501,1,0,0,P,1,0"], [(500, 0), (501, 0)]),
        (["1,500,1,600,2,P,1,0"], [(500, 600)]),
        (["1,500,1,0,0,P,1,0", "1,501,1,600,2,P,1,0"], [(500, 0), (501, 600)]),
        (["1,500,1,0,0,P,1,0", "1,0,0,600,2,Q,1,1"], [(500, 0)]),
        (["1,500,1,0,0,P,1,1", "1,0,0,600,2,Q,1,0"], [(0, 600)]),
    ],
)
def test_a_side_nobody_stands_on_is_empty(tmp_path: Path, rows: list[str], sides: list):
    assert [(quote.bid, quote.ask) for quote in quotes_of(tmp_path, *rows)] == sides


def test_milliseconds_may_have_a_fraction(tmp_path: Path):
    [quote] = quotes_of(tmp_path, "1000.25,500,1,600,2,P,1,0")
    assert quote.at_us == MIDNIGHT_US + 1_000_250


def test_a_quote_bar_is_its_close_at_its_end(tmp_path: Path):
    feed_ticks = read_all(write_lean_folder(tmp_path), ["MINY"])
    [quote] = [tick for tick in feed_ticks if isinstance(tick, Quote)]
    assert quote.at_us == NINE_US + 60 * MICROSECONDS
    assert (quote.bid, quote.bid_size, quote.ask, quote.ask_size) == (8, 300, 9, 400)
    assert quote.resolution == "minute"


def test_quotes_fall_back_to_what_was_recorded(tmp_path: Path):
    folder = write_lean_folder(tmp_path)
    lean_file(folder, "tick", "MINY", "trade", f"{NINE_MS},5,100,N,1,0")
    ticks = read_all(folder)
    resolutions = {tick.symbol: tick.resolution for tick in ticks if isinstance(tick, Quote)}
    assert resolutions == {"MINY": "minute", "SECY": "second", "TICKY": "tick"}
    assert [tick.price for tick in ticks if tick.symbol == "MINY" and isinstance(tick, Trade)] == [
        5
    ]


def test_recorded_quotes_hardly_ever_cross_in_regular_hours(lean_data: Path):
    open_us, close_us = MIDNIGHT_US + 34_200 * MICROSECONDS, MIDNIGHT_US + 57_600 * MICROSECONDS
    feed = LeanFeed(lean_data, DAY, ["AIG", "BAC", "IBM", "SPY"])
    feed.skip_to(open_us)
    crossed, counted = dict.fromkeys(("AIG", "BAC", "IBM", "SPY"), 0), {}
    while ticks := feed.read(close_us - 1):
        for tick in ticks:
            if isinstance(tick, Quote):
                crossed[tick.symbol] += tick.is_crossed
                counted[tick.symbol] = counted.get(tick.symbol, 0) + 1
    assert counted["AIG"] > 500_000
    assert all(crossed[symbol] / counted[symbol] < 0.001 for symbol in counted)


# --- trades -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("condition", "letters", "sets_price", "counts_volume"),
    [
        ("", (), True, True),
        ("1", ("@",), True, True),
        ("20", ("F",), False, True),
        ("20000020", ("F",), False, True),
        ("20000001", ("@",), True, True),
        ("20002020", ("F", "T"), True, True),
        ("20000040", ("O",), True, True),
        ("20000000", (), False, True),
        ("4800", ("L", "Z"), True, True),
        ("4000000", ("Q",), False, False),
        ("1000000", ("M",), False, False),
    ],
)
def test_the_sale_condition_decides_what_a_trade_counts_for(
    tmp_path: Path, condition: str, letters: tuple, sets_price: bool, counts_volume: bool
):
    lean_file(tmp_path, "tick", "IBM", "trade", f"1000,500,100,N,{condition},0")
    assert read_all(tmp_path) == [
        Trade(
            "IBM", MIDNIGHT_US + MICROSECONDS, 500, 100, 1, exchange="N", conditions=letters,
            sets_price=sets_price, counts_volume=counts_volume, auction=auction_of(condition),
        )
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("exchange", "condition", "suspicious", "auction"),
    [
        ("N", "40", 0, "open"),
        ("N", "80", 0, "close"),
        ("N", "4000000", 0, "open"),
        ("N", "1000000", 0, "close"),
        ("Q", "40", 0, ""),  # an auction, but not of the exchange that lists it
        ("N", "40", 1, ""),
        ("N", "1", 0, ""),
    ],
)
def test_the_listing_exchange_holds_the_official_auctions(
    tmp_path: Path, exchange: str, condition: str, suspicious: int, auction: str
):
    lean_file(tmp_path, "tick", "IBM", "trade", f"1000,500,100,{exchange},{condition},{suspicious}")
    assert [trade.auction for trade in read_all(tmp_path)] == [auction]


def test_the_first_and_the_last_price_of_a_session_of_bars_are_the_auctions(tmp_path: Path):
    at = [34_140_000, 34_200_000, 34_260_000, 57_540_000, 57_600_000]
    lean_file(tmp_path, "minute", "IBM", "trade", *[f"{ms},20,24,19,21,400" for ms in at])
    marked = {trade.at_us: trade.auction for trade in read_all(tmp_path) if trade.auction}
    assert list(marked.values()) == ["open", "close"]
    opened_us, closed_us = marked
    assert opened_us == MIDNIGHT_US + 34_200 * MICROSECONDS
    assert MIDNIGHT_US + 57_540 * MICROSECONDS < closed_us < MIDNIGHT_US + 57_600 * MICROSECONDS


def test_the_recorded_day_has_its_auctions(lean_data: Path):
    feed = LeanFeed(lean_data, DAY, ["AIG", "BAC", "IBM", "SPY"])
    found: dict[tuple[str, str], set[int]] = {}
    while ticks := feed.read(feed.end_us):
        for tick in ticks:
            if isinstance(tick, Trade) and tick.auction:
                found.setdefault((tick.symbol, tick.auction), set()).add(tick.price)
    assert found == {
        ("AIG", "open"): {490_000},
        ("AIG", "close"): {487_300},
        ("BAC", "open"): {139_000},
        ("BAC", "close"): {138_100},
        ("IBM", "open"): {1_820_000},
        ("IBM", "close"): {1_820_100},
        ("SPY", "open"): {1_674_300},
        ("SPY", "close"): {1_674_200},
    }


def test_a_suspicious_trade_is_volume_without_a_price():
    assert meaning("1", suspicious=True)[1:] == (False, True)


@pytest.mark.parametrize(
    "bar", ["20,24,19,21,4000", "21,24,19,20,4001", "20,20,20,20,7", "20,24,20,24,2", "9,9,9,9,1"]
)
def test_trades_of_a_bar_make_that_bar(tmp_path: Path, bar: str):
    lean_file(tmp_path, "minute", "IBM", "trade", f"{NINE_MS},{bar}")
    aggregator = Aggregator(EXCHANGE)
    for trade in read_all(tmp_path):
        aggregator.add(trade)
    [made] = aggregator.close_until(NINE_US + 120 * MICROSECONDS)
    assert (made.open, made.high, made.low, made.close, made.volume) == tuple(
        map(int, bar.split(","))
    )


# --- what is missing or broken ------------------------------------------------------------------


def refusal(folder: Path, on: date = DAY, symbols: list[str] | None = None) -> str:
    with pytest.raises(FeedError) as refused:
        read_all(folder, symbols, on)
    return refused.value.message


def test_says_that_the_folder_is_no_lean_folder(tmp_path: Path):
    assert str(tmp_path) in refusal(tmp_path)


def test_says_that_nothing_was_recorded_on_that_day(tmp_path: Path):
    folder = write_lean_folder(tmp_path)
    assert "2013-10-08" in refusal(folder, date(2013, 10, 8))
    assert "was not a trading day" in refusal(folder, date(2013, 10, 6))


def test_names_the_file_of_a_symbol_that_is_missing(tmp_path: Path):
    assert "xyz/20131007_quote.zip" in refusal(write_lean_folder(tmp_path), symbols=["XYZ"])


@pytest.mark.parametrize(
    "row", ["1000,five,100,N,1,0", "1000,5,100,N,1", "999,5,100,N,1,0", "1000,5,100,N,zz,0"]
)
def test_names_file_and_row_of_what_it_cannot_read(tmp_path: Path, row: str):
    lean_file(tmp_path, "tick", "IBM", "trade", "1000,5,100,N,1,0", row)
    sentence = refusal(tmp_path)
    assert "ibm/20131007_trade.zip, row 2 is no trade" in sentence


def test_names_a_file_that_is_no_zip(tmp_path: Path):
    path = lean_file(tmp_path, "tick", "IBM", "trade", "1000,5,100,N,1,0")
    path.write_bytes(b"no zip")
    assert str(path) in refusal(tmp_path)


def test_names_a_zip_that_is_cut_off_inside(tmp_path: Path):
    path = lean_file(tmp_path, "tick", "IBM", "trade", *["1000,5,100,N,1,0"] * 3)
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"1000,5", b"1000,6", 1))  # the checksum no longer agrees
    assert str(path) in refusal(tmp_path)


def test_names_a_file_that_holds_no_rows(tmp_path: Path):
    path = lean_file(tmp_path, "tick", "IBM", "trade", "x" * 10_000)
    assert str(path) in refusal(tmp_path)
