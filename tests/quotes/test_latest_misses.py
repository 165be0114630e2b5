"""Latest quotes that the fast store does not know: loaded once, by one, for all who ask."""

from __future__ import annotations

import os
import select
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from django.core.cache import caches
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from config.caching.loading import HITS, MISSES, WAITS
from config.caching.policy import NAMESPACES
from events.errors import Unavailable
from quotes import latest
from quotes.ingest.recorder import Heard
from quotes.latest import NOTHING, Latest, rows
from quotes.latest.gathering import Gathering
from quotes.models import Instrument
from tests.meeting import at_once
from tests.quotes.test_latest import quote, trade
from tests.waiting import PATIENCE_SECONDS, eventually

on_redis = pytest.mark.skipif(not os.environ.get("REDIS_URL"), reason="NO REDIS: set REDIS_URL")


class Loader:
    """Stands in for the table in threads that have no connection; remembers what was asked."""

    def __init__(self, seconds: float = 0.0, then: Callable[[], Any] = lambda: None) -> None:
        self.asked: list[list[str]] = []
        self._seconds = seconds
        self._then = then

    def __call__(self, symbols: Iterable[str]) -> dict[str, Latest]:
        self.asked.append(sorted(symbols))
        time.sleep(self._seconds)
        self._then()
        return {one: Latest(quote(one), trade(one)) for one in symbols if one != "NONE"}


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> Callable[[Loader], Loader]:
    def use(loader: Loader) -> Loader:
        monkeypatch.setattr(latest, "_gathering", Gathering(loader))
        return loader

    return use


def policy(monkeypatch: pytest.MonkeyPatch, **changes: float) -> None:
    monkeypatch.setitem(NAMESPACES, "latest", replace(NAMESPACES["latest"], **changes))


@pytest.fixture
def table(db: None) -> list[str]:
    """Two hundred symbols that only the table knows."""
    symbols = [f"S{n}" for n in range(200)]
    Instrument.objects.bulk_create([Instrument(symbol=symbol) for symbol in symbols])
    with transaction.atomic():
        rows.save({symbol: Latest(quote(symbol), trade(symbol)) for symbol in symbols})
    return symbols


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What is sent to Redis: an answer is awaited for each."""
    from redis.connection import Connection

    commands, send = [], Connection.send_packed_command

    def count(connection: Connection, command: Any, *args: Any, **more: Any) -> None:
        commands.append(command)
        send(connection, command, *args, **more)

    monkeypatch.setattr(Connection, "send_packed_command", count)
    return commands


@on_redis
def test_two_hundred_misses_cost_one_query_and_two_round_trips(
    table: list[str], sent: list[Any]
) -> None:
    latest.get_many(["WARM"])  # connects, and leaves the scripts with the server
    sent.clear()
    with CaptureQueriesContext(connection) as queries:
        found = latest.get_many(table)
    assert found == {symbol: Latest(quote(symbol), trade(symbol)) for symbol in table}
    assert (len(queries), len(sent)) == (1, 2)

    sent.clear()
    with CaptureQueriesContext(connection) as queries:
        assert latest.get_many(table) == found
    assert (len(queries), len(sent)) == (0, 1)


def test_requests_that_miss_the_same_load_it_once(loads: Any) -> None:
    loader = loads(Loader(seconds=0.1))
    answers = at_once(*[lambda: latest.get("AAPL").quote] * 50)
    assert answers == [quote("AAPL")] * 50
    assert loader.asked == [["AAPL"]]


def test_of_requests_that_miss_many_symbols_each_symbol_is_loaded_once(loads: Any) -> None:
    loader = loads(Loader(seconds=0.05))
    lists = [[f"S{n}", f"S{n + 1}", f"T{n}"] for n in range(40)]

    answers = at_once(*[lambda each=each: latest.get_many(each) for each in lists])

    assert [list(answer) for answer in answers] == lists
    assert all(NOTHING not in answer.values() for answer in answers)
    asked = [symbol for each in loader.asked for symbol in each]
    assert sorted(asked) == sorted({symbol for each in lists for symbol in each})


def test_who_comes_while_one_loads_shares_the_next_load() -> None:
    begun, end, asked = threading.Event(), threading.Event(), []

    def load(symbols: Iterable[str]) -> dict[str, str]:
        asked.append(list(symbols))
        begun.set()
        assert end.wait(PATIENCE_SECONDS)
        return {symbol: symbol.lower() for symbol in symbols}

    gathering = Gathering(load)
    with ThreadPoolExecutor(21) as pool:
        first = pool.submit(gathering, ["FIRST"])
        assert begun.wait(PATIENCE_SECONDS)
        jobs = [pool.submit(gathering, [f"S{n}"]) for n in range(20)]
        eventually(lambda: gathering._next and len(gathering._next.keys) == 20, "all twenty")
        end.set()
        assert first.result(PATIENCE_SECONDS) == {"FIRST": "first"}
        found = [job.result(PATIENCE_SECONDS) for job in jobs]
    assert found == [{f"S{n}": f"s{n}"} for n in range(20)]
    assert len(asked) == 2


def test_failed_load_fails_those_it_was_for_and_no_other() -> None:
    def load(symbols: Iterable[str]) -> dict[str, str]:
        raise Unavailable

    gathering = Gathering(load)
    for _ in range(2):
        with pytest.raises(Unavailable):
            gathering(["AAPL"])


def test_absence_is_remembered_until_a_put(db: None) -> None:
    with CaptureQueriesContext(connection) as queries:
        assert latest.get_many(["NONE", "NIL"]) == {"NONE": NOTHING, "NIL": NOTHING}
        assert latest.get_many(["NONE", "NIL"]) == {"NONE": NOTHING, "NIL": NOTHING}
    assert len(queries) == 1

    latest.put_many([quote("NONE")])

    assert latest.get("NONE").quote == quote("NONE")


def test_absence_is_not_believed_for_long(loads: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    policy(monkeypatch, fresh_seconds=0.2)
    loader = loads(Loader())
    latest.get("NONE")

    def is_asked_again() -> bool:
        assert latest.get("NONE") == NOTHING
        return len(loader.asked) > 1

    eventually(is_asked_again, "another look at the table")


def test_tick_that_comes_during_a_load_is_the_answer(loads: Any) -> None:
    loads(Loader(then=lambda: latest.put_many([quote(sequence=9)])))
    assert latest.get("AAPL") == Latest(quote(sequence=9), trade())
    assert latest.get("AAPL") == Latest(quote(sequence=9), trade())


def test_last_trade_is_loaded_though_a_quote_is_known(table: list[str]) -> None:
    latest.put_many([quote("S1", sequence=7)])
    heard = Heard()
    heard.quotes["S1"] = quote("S1", sequence=7)
    # What a feed writes that has started anew and has only heard a quote.
    assert heard.latest() == {"S1": Latest(quote("S1", sequence=7), trade("S1"))}


def test_table_is_asked_once_for_a_symbol_that_does_not_trade(db: None) -> None:
    latest.put_many([quote("QUIET")])
    with CaptureQueriesContext(connection) as queries:
        for _ in range(3):
            assert latest.get("QUIET") == Latest(quote("QUIET"), None)
    assert len(queries) == 1


def test_counts_hits_and_misses(loads: Any) -> None:
    loads(Loader())
    counts = [each.labels("latest")._value for each in (HITS, MISSES)]
    before = [count.get() for count in counts]
    latest.get_many(["A", "B", "C"])
    latest.get_many(["A", "B", "C", "D"])
    after = [count.get() for count in counts]
    assert [new - old for new, old in zip(after, before, strict=True)] == [3, 4]


def load_in_another_process(symbol: str, load: Any) -> int:
    """Miss the symbol in a copy of this process, which ends when it is loaded; the copy's id."""
    if pid := os.fork():
        return pid
    try:
        latest._gathering = Gathering(load)  # what a fork makes anew
        latest.get(symbol)
    finally:
        os._exit(0)  # nothing of pytest's


class Signal:
    """An event that another process may set or wait for: a pipe."""

    def __init__(self) -> None:
        self._reads, self._writes = os.pipe()

    def set(self) -> None:
        os.write(self._writes, b"!")

    def wait(self) -> bool:
        return bool(select.select([self._reads], [], [], PATIENCE_SECONDS)[0])

    def close(self) -> None:
        os.close(self._reads)
        os.close(self._writes)


@pytest.fixture
def signals() -> Iterator[tuple[Signal, Signal]]:
    both = Signal(), Signal()
    yield both
    for each in both:
        each.close()


@on_redis
def test_two_processes_do_not_load_the_same_symbol(
    loads: Any, signals: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy(monkeypatch, lock_seconds=PATIENCE_SECONDS, wait_seconds=PATIENCE_SECONDS)
    begun, go_on = signals

    def load(symbols: Iterable[str]) -> dict[str, Latest]:
        begun.set()
        go_on.wait()
        return Loader()(symbols)

    pid = load_in_another_process("AAPL", load)
    assert begun.wait()
    ours = loads(Loader(then=go_on.set))
    waits = WAITS.labels("latest")._value
    before = waits.get()

    found = latest.get_many(["AAPL", "MSFT"])

    os.waitpid(pid, 0)
    assert found == {one: Latest(quote(one), trade(one)) for one in ("AAPL", "MSFT")}
    assert ours.asked == [["MSFT"]]  # before it waited for the other
    assert waits.get() - before == 1


@on_redis
def test_killed_holder_keeps_others_waiting_for_its_lock_at_most(
    loads: Any, signals: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy(monkeypatch, lock_seconds=0.6, wait_seconds=PATIENCE_SECONDS)
    begun, go_on = signals

    def hang(symbols: Iterable[str]) -> dict[str, Latest]:
        begun.set()
        go_on.wait()
        return {}

    pid = load_in_another_process("AAPL", hang)
    assert begun.wait()
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    ours = loads(Loader())

    answers = at_once(*[lambda: latest.get("AAPL").quote] * 10)

    assert answers == [quote()] * 10
    assert ours.asked == [["AAPL"]]


def test_table_answers_while_redis_is_away(
    table: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    exceptions = pytest.importorskip("redis.exceptions")
    from quotes.latest.redis import RedisStore

    nowhere = RedisStore("redis://127.0.0.1:1/0")
    over: Any = caches["quotes"].over  # type: ignore[attr-defined]
    with monkeypatch.context() as patch, CaptureQueriesContext(connection) as queries:
        patch.setattr(latest, "_store", nowhere)
        patch.setattr(latest, "_shared", over(nowhere, (exceptions.RedisError,)))
        for _ in range(3):
            assert latest.get_many(["S1", "S2"])["S2"] == Latest(quote("S2"), trade("S2"))

    assert len(queries) == 1
