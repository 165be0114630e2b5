"""The history of ticks: what is kept, in which order it is read, and when it goes."""

from __future__ import annotations

import asyncio
import threading
from itertools import pairwise
from typing import Any

import pytest
from django.db import DataError, OperationalError, connection, transaction
from django.test.utils import CaptureQueriesContext
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from events import leases
from events.leases import Lease
from events.models import Lease as LeaseRow
from quotes import history
from quotes.feeds.base import InstrumentSpec, Tick, tick_order
from quotes.latest.rows import forget_instruments
from quotes.models import QuoteTick, TradeTick
from quotes.streaming.bus import NoRoom
from quotes.tick_history import historian as historian_module
from quotes.tick_history import store
from quotes.tick_history.backlog import DROPPED, Backlog
from quotes.tick_history.historian import SLICE_TICKS, Historian
from quotes.tick_history.retention import DAY_US, ROWS_PER_DELETE, Retention
from quotes.ticks import CANCELED, Amendment, Quote, Trade
from tests.quotes.memory_feed import MINUTE, SECOND, START_US, quote, trade
from tests.waiting import PATIENCE_SECONDS, eventually

SYMBOLS = ["AAPL", "IBM", "MSFT"]
END_US = START_US + 400 * DAY_US


def enlist() -> dict[str, int]:
    forget_instruments()
    return history.enlist(InstrumentSpec(symbol) for symbol in SYMBOLS)


def some_trades(count: int, symbol: str = "AAPL", from_us: int = START_US) -> list[Tick]:
    """One a second, numbered from 1."""
    return [Trade(symbol, from_us + n * SECOND, 1_000, 5, n + 1, 1) for n in range(count)]


def kept(kind: store.Kind = store.TRADES) -> list[Tick]:
    return store.page(kind, SYMBOLS, 0, END_US, limit=1_000_000).ticks


# --- store ----------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_ticks_are_read_as_they_were_published() -> None:
    full_quote = Quote(
        "IBM", START_US, 1_500_050, 300, 6_000_000_001, 4_000_000_000, 7, 3, 99, "P", "Q", "second"
    )
    full_trade = Trade("IBM", START_US, 1_500_055, 1, 8, 3, 99, "D", ("@", "TI"), False, False)
    plain_trade = Trade("IBM", START_US, 0, 0, 9, 3)

    store.insert([full_quote, full_trade, plain_trade], enlist())

    assert kept(store.QUOTES) == [full_quote._replace(received_us=0)]
    assert kept() == [full_trade._replace(received_us=0), plain_trade]


@pytest.mark.django_db
def test_tick_that_is_there_is_left_and_one_without_instrument_passed_over() -> None:
    ids = enlist()
    store.insert(some_trades(3), ids)

    assert store.insert([*some_trades(4), *some_trades(1, "NOSUCH")], ids) == 4

    assert kept() == some_trades(4)


@pytest.mark.django_db
@pytest.mark.parametrize("count", [1, 50])
def test_page_of_a_symbol_costs_the_same_statements_wherever_it_is(count: int) -> None:
    store.insert(some_trades(2 * count), enlist())
    with CaptureQueriesContext(connection) as queries:
        store.page(store.TRADES, ["AAPL"], 0, END_US, limit=count, after=("AAPL", START_US, 1))
    assert len(queries) == 2


instants = st.integers(0, 5)  # so few that many ticks share one
ticks = st.sets(st.tuples(st.sampled_from(SYMBOLS), instants, st.integers(1, 9)), max_size=60)


class Pages(TestCase):
    """Whatever is stored and however it is cut: nothing is missing, nothing comes twice."""

    @settings(max_examples=60, deadline=None)
    @given(
        stored=ticks,
        asked=st.sets(st.sampled_from(SYMBOLS), min_size=1),
        span=st.tuples(instants, instants),
        limit=st.integers(1, 20),
        descending=st.booleans(),
        kind=st.sampled_from(store.KINDS),
    )
    def test_pages_are_the_whole(
        self,
        stored: set[tuple[str, int, int]],
        asked: set[str],
        span: tuple[int, int],
        limit: int,
        descending: bool,
        kind: store.Kind,
    ) -> None:
        ids = enlist()
        make = Trade if kind is store.TRADES else Quote
        rest = (5, 5) if make is Trade else (5, 5, 6, 6)
        store.insert([make(symbol, at, *rest, number) for symbol, at, number in stored], ids)
        first, last = sorted(span)

        pages, after = [], None
        while True:
            page = store.page(
                kind, asked, first, last, limit=limit, after=after, descending=descending
            )
            pages.append(page.ticks)
            after = page.after
            if after is None:
                break

        sign = -1 if descending else 1
        wanted = [one for one in stored if one[0] in asked and first <= one[1] <= last]
        wanted.sort(key=lambda one: (one[0], sign * one[1], sign * one[2]))
        found = [tick for page in pages for tick in page]
        assert [(tick.symbol, tick.at_us, tick.sequence) for tick in found] == wanted
        assert all(len(page) == limit for page in pages[:-1])


@pytest.mark.django_db(transaction=True)  # ANALYZE commits
@pytest.mark.skipif(connection.vendor != "mysql", reason="EXPLAIN of MySQL")
@pytest.mark.parametrize("direction", ["ASC", "DESC"])
def test_later_page_is_a_range_of_the_clustered_key(direction: str) -> None:
    ids = enlist()
    store.insert(some_trades(3_000), ids)
    after = START_US + 1_500 * SECOND
    first, last, sign = (0, after, "<") if direction == "DESC" else (after, END_US, ">")
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE TABLE quotes_tradetick")
        cursor.fetchall()
        cursor.execute(
            f"EXPLAIN SELECT price FROM quotes_tradetick WHERE instrument_id = %s AND at_us"
            f" BETWEEN %s AND %s AND (at_us {sign} %s OR sequence {sign} 5)"
            f" ORDER BY at_us {direction}, sequence {direction} LIMIT 100",
            [ids["AAPL"], first, last, after],
        )
        columns = [column[0] for column in cursor.description]
        plan = dict(zip(columns, cursor.fetchone(), strict=True))
    assert (plan["type"], plan["key"]) == ("range", "PRIMARY")
    assert "filesort" not in plan["Extra"]


# --- backlog --------------------------------------------------------------------------------------


def dropped(reason: str) -> float:
    return DROPPED.labels(reason)._value.get()


def test_full_backlog_of_a_market_on_wall_time_drops_the_newest_and_counts() -> None:
    backlog = Backlog(waits=False, places=10)
    before = dropped("full")

    backlog.offer(some_trades(8))
    backlog.offer(some_trades(3))
    backlog.offer(some_trades(2))

    assert backlog.waiting == 10
    assert dropped("full") - before == 3
    assert backlog.take(100, 0.0) == [*some_trades(8), *some_trades(2)]


async def test_market_on_wall_time_never_waits_for_room() -> None:
    backlog = Backlog(waits=False, places=1)
    backlog.offer(some_trades(1))
    await asyncio.wait_for(backlog.room(60.0), PATIENCE_SECONDS)


async def test_replay_waits_for_room_and_drops_nothing() -> None:
    backlog = Backlog(waits=True, places=10)
    before = dropped("full")
    backlog.offer(some_trades(12))
    with pytest.raises(NoRoom):
        await backlog.room(0.01)

    waiting = asyncio.create_task(backlog.room(PATIENCE_SECONDS))
    await asyncio.sleep(0)
    assert not waiting.done()
    assert len(backlog.take(1, 0.0)) == 12
    await waiting
    assert dropped("full") == before


async def test_closed_backlog_lets_the_feed_go_on() -> None:
    backlog = Backlog(waits=True, places=1)
    backlog.offer(some_trades(2))
    waiting = asyncio.create_task(backlog.room(PATIENCE_SECONDS))
    backlog.close()
    await waiting
    backlog.offer(some_trades(3))
    assert backlog.take(100, 5.0) == some_trades(2)
    assert backlog.take(100, 5.0) == []


# --- the writer -----------------------------------------------------------------------------------


@pytest.fixture
def lease(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> Lease:
    monkeypatch.setattr(historian_module, "LEAVE_SECONDS", 2 * PATIENCE_SECONDS)
    enlist()
    owned = leases.acquire("feed:0")
    assert owned is not None
    return owned


def write(backlog: Backlog, lease: Lease, days: int = 1) -> None:
    """Have everything written that waits."""
    historian = Historian(backlog, lease, days=days)
    historian.start()
    historian.leave()


def test_everything_that_waits_is_written_before_leaving(lease: Lease) -> None:
    backlog = Backlog(waits=True)
    late_trade = trade(9)._replace(sequence=9_999)
    told = [*some_trades(3 * SLICE_TICKS), *some_trades(700, "IBM"), quote(3), late_trade]
    told.sort(key=tick_order)
    for start in range(0, len(told), 90):
        backlog.offer(told[start : start + 90])

    write(backlog, lease)

    assert sorted([*kept(), *kept(store.QUOTES)], key=tick_order) == told


def test_ticks_are_written_while_they_come(lease: Lease) -> None:
    backlog = Backlog(waits=False)
    historian = Historian(backlog, lease, days=1)
    historian.start()
    try:
        backlog.offer(some_trades(2))
        eventually(lambda: TradeTick.objects.count() == 2)
    finally:
        historian.leave()


def test_former_owner_of_the_feed_writes_no_more(lease: Lease) -> None:
    LeaseRow.objects.update(epoch=99, owner="another")
    backlog = Backlog(waits=True)
    backlog.offer(some_trades(5))

    write(backlog, lease)

    assert backlog.is_closed
    assert not TradeTick.objects.exists()


@pytest.mark.usefixtures("no_days")
@pytest.mark.parametrize("others", [0, 2])
def test_what_is_said_of_a_trade_is_no_instant_of_the_market(
    lease: Lease, monkeypatch: pytest.MonkeyPatch, others: int
) -> None:
    monkeypatch.setattr(historian_module, "FORGET_SECONDS", 0.0)
    told = [quote(0)._replace(sequence=n + 1) for n in range(others)]
    [was] = some_trades(1)
    Retention(1).make_room(was.at_us)
    store.insert([was], enlist())
    backlog = Backlog(waits=True)
    backlog.offer([*told, Amendment("AAPL", was.at_us + 9 * DAY_US, was)])

    write(backlog, lease)

    assert [each.amended for each in kept() if isinstance(each, Trade)] == [CANCELED]


def test_slice_is_written_again_after_the_database_was_away(
    lease: Lease, monkeypatch: pytest.MonkeyPatch
) -> None:
    insert, failures = store.insert, [OperationalError("gone"), OperationalError("gone")]

    def fragile(*args: object) -> int:
        if failures:
            raise failures.pop()
        return insert(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(store, "insert", fragile)
    monkeypatch.setattr("quotes.tick_history.historian.RETRY_SECONDS", 0.05)
    backlog = Backlog(waits=True)
    backlog.offer(some_trades(5))
    write(backlog, lease)
    assert kept() == some_trades(5)


def test_slice_that_the_database_never_takes_is_given_up_and_counted(
    lease: Lease, monkeypatch: pytest.MonkeyPatch
) -> None:
    insert, failures = store.insert, [DataError("out of range")]

    def picky(*args: object) -> int:
        if failures:
            raise failures.pop()
        return insert(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(store, "insert", picky)
    before, backlog = dropped("failed"), Backlog(waits=True)
    bad = some_trades(SLICE_TICKS)
    backlog.offer(bad)
    backlog.offer(some_trades(3, "IBM"))

    write(backlog, lease)

    assert kept() == some_trades(3, "IBM")
    assert dropped("failed") - before == len(bad)


@pytest.mark.skipif(connection.vendor != "sqlite", reason="one writer at a time is SQLite's")
def test_nobody_waits_long_for_a_slice_to_be_written(
    lease: Lease, monkeypatch: pytest.MonkeyPatch
) -> None:
    """500 ticks take 5 ms, and whoever waits for them writes before the next."""
    backlog = Backlog(waits=True)
    for n in range(40):
        backlog.offer(some_trades(500, from_us=START_US + n * MINUTE * 10))
    insert, turns, done = store.insert, [], threading.Event()

    def insert_in_turn(*args: object) -> int:
        turns.append("slice")
        queue: Any = connection._queue  # type: ignore[attr-defined]
        eventually(lambda: queue._waiting, "the other to wait")
        return insert(*args)  # type: ignore[arg-type]

    def write_beside() -> None:
        while not done.is_set():
            with transaction.atomic():
                LeaseRow.objects.filter(name="another").update(owner="")
                turns.append("other")
        connection.close()

    monkeypatch.setattr(store, "insert", insert_in_turn)
    beside = threading.Thread(target=write_beside)
    beside.start()
    write(backlog, lease)
    done.set()
    beside.join()

    assert TradeTick.objects.count() == 40 * 500
    assert turns.count("slice") >= 40
    assert ("slice", "slice") not in pairwise(turns)


# --- retention ------------------------------------------------------------------------------------


def never() -> bool:
    return False


@pytest.fixture
def no_days(transactional_db: None) -> None:
    """On MySQL: no day has its partition yet. Those that other tests made outlive their rows."""
    if connection.vendor == "mysql":
        with connection.cursor() as cursor:
            for kind in (store.QUOTES, store.TRADES):
                cursor.execute(
                    f"ALTER TABLE {kind.table} PARTITION BY RANGE (at_us)"
                    " (PARTITION p_rest VALUES LESS THAN MAXVALUE)"
                )


@pytest.mark.usefixtures("no_days")
def test_what_is_older_than_the_policy_goes_and_the_rest_stays() -> None:
    ids, retention = enlist(), Retention(2)
    days = [some_trades(3, symbol, START_US + n * DAY_US) for n in range(5) for symbol in SYMBOLS]
    for day in days:
        retention.make_room(day[0].at_us)
        store.insert([*day, quote(0)._replace(at_us=day[0].at_us)], ids)

    while retention.forget(START_US + 4 * DAY_US + MINUTE, never):
        pass

    horizon_us = START_US + 2 * DAY_US + MINUTE
    if connection.vendor == "mysql":  # a partition goes when all of it is over
        horizon_us = horizon_us // DAY_US * DAY_US
    assert {tick.at_us for tick in kept()} == {
        tick.at_us for day in days for tick in day if tick.at_us >= horizon_us
    }
    assert min(tick.at_us for tick in kept(store.QUOTES)) >= horizon_us


@pytest.mark.usefixtures("no_days")
@pytest.mark.skipif(connection.vendor != "mysql", reason="partitions are MySQL's")
def test_days_are_partitions_and_dropped_without_deleting_a_row() -> None:
    ids, retention = enlist(), Retention(1)
    days = [START_US + n * DAY_US for n in range(3)]
    for at_us in days:
        retention.make_room(at_us)
        retention.make_room(at_us)
        Retention(1).make_room(at_us)  # as after a restart
        store.insert(some_trades(3, from_us=at_us), ids)

    with CaptureQueriesContext(connection) as queries:
        retention.forget(days[-1] + DAY_US, never)

    statements = [query["sql"] for query in queries]
    assert not [one for one in statements if one.startswith("DELETE")]
    assert len([one for one in statements if "DROP PARTITION" in one]) == 2
    assert kept() == some_trades(3, from_us=days[-1])


@pytest.mark.django_db
@pytest.mark.skipif(connection.vendor == "mysql", reason="MySQL drops partitions")
def test_old_rows_are_deleted_a_few_at_a_time_and_not_while_ticks_wait() -> None:
    store.insert(some_trades(2 * ROWS_PER_DELETE + 10), enlist())
    retention = Retention(1)

    assert retention.forget(START_US + 9 * DAY_US, lambda: True) == 0
    turns = iter([False, True])
    assert retention.forget(START_US + 9 * DAY_US, lambda: next(turns)) <= ROWS_PER_DELETE
    busy = iter([False] * 20)
    while retention.forget(START_US + 9 * DAY_US, lambda: next(busy, False)):
        pass
    assert not TradeTick.objects.exists()
    assert not QuoteTick.objects.exists()
