"""Where history comes from: `quotes.backfill` and the command over it."""

from datetime import UTC, date, datetime
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from quotes import backfill, history, latest
from quotes.bars import DAY, MINUTE, midnight
from quotes.calendar import EXCHANGE
from quotes.feeds.base import FeedError
from quotes.feeds.listings import LISTINGS
from quotes.models import Bar as StoredBar
from quotes.models import Instrument
from quotes.ticks import Bar
from quotes.timeframes import parse_timeframe
from tests.quotes.lean_folder import NINE_MS, lean_file, write_lean_folder, write_zip

pytestmark = pytest.mark.django_db

YEARS = (midnight(date(1998, 1, 1)), midnight(date(2030, 1, 1)))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """IBM and BAC with three days each, MINY with one minute."""
    write_lean_folder(tmp_path)
    for symbol in ("ibm", "bac"):
        write_zip(
            tmp_path / "equity/usa/daily" / f"{symbol}.zip",
            "20131003 00:00,20,24,19,21,1000",
            "20131004 00:00,21,25,20,22,2000",
            "20131007 00:00,22,26,21,23,3000",
        )
    return tmp_path


def stored(symbol: str, length: str = "1Day") -> list[Bar]:
    return history.bars([symbol], parse_timeframe(length), *YEARS, limit=10_000).bars


def import_bars(*arguments: object) -> str:
    said = StringIO()
    call_command("import_bars", *map(str, arguments), stdout=said)
    return said.getvalue()


def test_imports_daily_bars_as_traded(folder: Path):
    assert "6 daily bars are stored" in import_bars("--data", folder)
    assert stored("IBM") == [
        Bar("IBM", DAY, midnight(date(2013, 10, 3)), 20, 24, 19, 21, 1000),
        Bar("IBM", DAY, midnight(date(2013, 10, 4)), 21, 25, 20, 22, 2000),
        Bar("IBM", DAY, midnight(date(2013, 10, 7)), 22, 26, 21, 23, 3000),
    ]
    assert Instrument.objects.get(symbol="IBM").exchange == "NYSE"


def test_imports_only_the_symbols_asked_for(folder: Path):
    import_bars("--data", folder, "--symbols", "ibm")
    assert [instrument.symbol for instrument in Instrument.objects.all()] == ["IBM"]


def test_imports_minute_bars(folder: Path):
    import_bars("--data", folder, "--resolution", "minute")
    [bar] = stored("MINY", "1Min")
    start = midnight(date(2013, 10, 7)) + NINE_MS // 1000
    assert bar == Bar("MINY", MINUTE, start, 20, 24, 19, 19, 4000)


def test_importing_again_changes_nothing(folder: Path):
    import_bars("--data", folder)
    once = stored("IBM")
    import_bars("--data", folder)
    assert stored("IBM") == once
    assert StoredBar.objects.count() == 6


def test_a_replay_does_not_learn_its_own_day(folder: Path):
    assert backfill.import_lean(folder, ["IBM"], until=date(2013, 10, 7)) == 2
    assert [bar.close for bar in stored("IBM")] == [21, 22]


def test_says_which_symbol_has_no_history(folder: Path):
    with pytest.raises(CommandError, match="no daily bars of XYZ"):
        import_bars("--data", folder, "--symbols", "XYZ")
    with pytest.raises(CommandError, match="is not a LEAN data folder"):
        import_bars("--data", folder / "nowhere")


@pytest.mark.parametrize(
    "row", ["20131008 00:00,1,2,3", "20131099 00:00,1,1,1,1,1", "20131008 00:00,5,4,1,3,1"]
)
def test_names_file_and_row_of_a_bar_it_cannot_read(folder: Path, row: str):
    path = write_zip(
        folder / "equity/usa/daily/aig.zip", "20131003 00:00,20,24,19,21,1000", row
    )  # fmt: skip
    with pytest.raises(FeedError) as refused:
        backfill.import_lean(folder, ["AIG"])
    assert str(path) in refused.value.message


def test_names_a_minute_file_of_no_day(folder: Path):
    path = lean_file(folder, "minute", "IBM", "trade", f"{NINE_MS},1,1,1,1,1")
    path.rename(path.with_name("2013100x_trade.zip"))
    with pytest.raises(FeedError, match="2013100x"):
        backfill.import_lean(folder, ["IBM"], resolution="minute")


def test_imports_the_recorded_history(lean_data: Path):
    backfill.import_lean(lean_data, ["SPY"], until=date(2013, 10, 7))
    bars = stored("SPY")
    assert len(bars) == len(EXCHANGE.days(date(1998, 1, 1), date(2013, 10, 4)))
    assert (bars[-1].start, bars[-1].close) == (midnight(date(2013, 10, 4)), 1688900)


# --- the market's own past ----------------------------------------------------------------------

NOON = datetime(2026, 3, 4, 17, 0, 30, tzinfo=UTC)


@pytest.fixture
def short_past(monkeypatch):
    """A simulated past of few days, for what does not depend on how long it is."""
    monkeypatch.setattr("quotes.feeds.simulated_history.DAILY_DAYS", 3)
    monkeypatch.setattr("quotes.feeds.simulated_history.MINUTE_DAYS", 0)


def test_the_simulated_past_is_stored_and_told_of(short_past):
    told = []
    written = backfill.generate_history(7, NOON, lambda done, total: told.append((done, total)))
    assert told == [(n, len(LISTINGS)) for n in range(1, len(LISTINGS) + 1)]
    assert StoredBar.objects.count() == written == len(LISTINGS) * (4 + 12 * 60)
    assert stored("AAPL")[-1].start == midnight(date(2026, 3, 4))


def test_generating_again_changes_nothing(short_past):
    backfill.generate_history(7, NOON)
    once = stored("AAPL", "1Min")
    backfill.generate_history(7, NOON, alone=False)
    assert stored("AAPL", "1Min") == once


def test_a_market_gets_its_past_once(short_past, settings):
    settings.FEED, settings.FEED_SEED = "simulated", 7
    assert backfill.fill_past(NOON) > 0
    assert backfill.fill_past(NOON) == 0

    standing = latest.get_many(listing.symbol for listing in LISTINGS)
    assert len(standing) == len(LISTINGS), "a quiet instrument can be traded at once, too"
    assert all(each.quote is not None and each.quote.is_two_sided for each in standing.values())


def test_a_recorded_market_gets_the_days_before_it(folder: Path, settings):
    settings.FEED, settings.FEED_DATA, settings.FEED_DATE = "lean", str(folder), "2013-10-07"
    lean_file(folder, "tick", "IBM", "trade", f"{NINE_MS},5,100,N,1,0")
    assert backfill.fill_past(NOON) == 2
    assert list(Instrument.objects.values_list("symbol", flat=True)) == ["IBM"]
