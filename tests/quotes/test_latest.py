"""One suite of behaviour for every store of latest quotes, and the table that stands in for it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import permutations
from typing import Any

import msgpack
import pytest
from django.conf import settings
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from quotes import latest
from quotes.latest import NOTHING, Latest, rows
from quotes.latest.local import LocalStore, Store
from quotes.models import Instrument, LatestQuote
from quotes.ticks import CORRECTED, Place, Quote, Trade


def quote(
    symbol: str = "AAPL", *, epoch: int = 1, sequence: int = 1, bid: int = 1_000_000
) -> Quote:
    return Quote(symbol, 1_000 + sequence, bid, 3, bid + 100, 4, sequence, epoch, 2_000, "Q", "P")


def trade(symbol: str = "AAPL", *, epoch: int = 1, sequence: int = 1, price: int = 999) -> Trade:
    return Trade(symbol, 1_000 + sequence, price, 7, sequence, epoch, exchange="Q")


class StoreContract:
    """What every store does."""

    def test_holds_the_newest_quote_and_trade_whole(self, store: Store) -> None:
        store.put_many([quote(sequence=1), trade(sequence=1), quote(sequence=2), trade("MSFT")])
        store.put_many([trade(sequence=2)])

        held = store.get_many(["AAPL"])

        assert held == {"AAPL": Latest(quote(sequence=2), trade(sequence=2))}
        assert type(held["AAPL"].quote) is Quote
        assert type(held["AAPL"].trade) is Trade

    def test_leaves_out_what_it_has_nothing_of(self, store: Store) -> None:
        store.put_many([trade("MSFT")])
        assert store.get_many(["AAPL", "MSFT"]) == {"MSFT": Latest(None, trade("MSFT"))}
        assert store.get_many([]) == {}

    @pytest.mark.parametrize("order", list(permutations([(1, 9), (2, 1), (2, 2)])))
    def test_never_replaces_a_newer_tick(self, store: Store, order: list[tuple[int, int]]) -> None:
        for epoch, sequence in order:
            store.put_many([quote(epoch=epoch, sequence=sequence)])
            store.put_many([trade(epoch=epoch, sequence=sequence)])

        held = store.get_many(["AAPL"])["AAPL"]

        assert held == Latest(quote(epoch=2, sequence=2), trade(epoch=2, sequence=2))

    def test_a_price_that_was_said_anew_comes_after_its_print_and_before_the_next(
        self, store: Store
    ) -> None:
        anew = [
            trade(sequence=5)._replace(stands=(2, 7, 1)),
            trade(sequence=5, price=1)._replace(stands=(2, 7, 2), amended=CORRECTED),
        ]
        newest = trade(epoch=2, sequence=8)
        for told, held in [
            (trade(epoch=2, sequence=7), trade(epoch=2, sequence=7)),
            (anew[0], anew[0]),
            (trade(epoch=2, sequence=7), anew[0]),
            (anew[1], anew[1]),
            (anew[0], anew[1]),
            (newest, newest),
            (anew[1], newest),
        ]:
            store.put_many([told])
            assert store.get_many(["AAPL"])["AAPL"].trade == held

    def test_says_how_far_the_feed_has_come(self, store: Store) -> None:
        assert store.place() is None
        store.put_many([quote()], Place(1, 7))
        store.put_many([quote(sequence=2)])
        assert store.place() == Place(1, 7)

        store.put_many([], Place(2, 1))
        store.put_many([quote("MSFT")], Place(1, 9))  # of a feed that was succeeded

        assert store.place() == Place(2, 1)
        store.clear()
        assert store.place() is None

    def test_trade_that_sets_no_price_is_not_the_last(self, store: Store) -> None:
        odd_lot = trade(sequence=2)._replace(sets_price=False)
        store.put_many([quote(), trade(sequence=1), odd_lot])
        assert store.get_many(["AAPL"])["AAPL"].trade == trade(sequence=1)

    def test_keeps_many_symbols_apart(self, store: Store) -> None:
        quotes = [quote(f"S{n}", bid=n + 1) for n in range(1200)]
        store.put_many(quotes)
        held = store.get_many([one.symbol for one in quotes])
        assert [held[one.symbol].quote for one in quotes] == quotes

    def test_forgets_when_told(self, store: Store) -> None:
        store.put_many([quote()])
        store.clear()
        assert store.get_many(["AAPL"]) == {}


class TestLocalStore(StoreContract):
    @pytest.fixture
    def store(self) -> Store:
        return LocalStore()


@pytest.mark.skipif(not os.environ.get("REDIS_URL"), reason="NO REDIS: set REDIS_URL")
class TestRedisStore(StoreContract):
    @pytest.fixture
    def store(self) -> Iterator[Store]:
        from quotes.latest.redis import RedisStore

        store = RedisStore(settings.REDIS_URL)
        store.clear()
        yield store
        store.clear()

    def test_reading_many_is_one_round_trip(self, store: Store) -> None:
        symbols = [f"S{n}" for n in range(50)]
        store.put_many([quote(symbol) for symbol in symbols])
        watcher = redis()

        def trips() -> int:
            before = watcher.info("stats")["total_reads_processed"]
            store.get_many(symbols)
            return int(watcher.info("stats")["total_reads_processed"] - before)

        # The one of `get_many`, and the second INFO itself. A connection that an earlier test left
        # behind may end meanwhile, which counts as one, too.
        assert min(trips() for _ in range(3)) == 2

    def test_a_trade_that_the_release_before_put_is_read(self, store: Store) -> None:
        known = trade(sequence=3)
        store.put_many([quote(), known])
        redis().hset("openbell:latest:AAPL", "trade", msgpack.packb(known[:-1]))

        assert latest.get("AAPL") == Latest(quote(), known)

    def test_what_redis_forgot_is_there_again_with_the_next_batch(self, store: Store) -> None:
        forgetful = redis()
        quotes = [quote(f"S{n}", bid=n + 1) for n in range(1200)]
        store.put_many([*quotes, trade("S7")], Place(3, 1))
        forgetful.flushdb()
        assert store.place() is None

        store.put_many([quote("S0", sequence=2)], Place(3, 2))

        held = store.get_many([one.symbol for one in quotes])
        assert held["S0"].quote == quote("S0", sequence=2)
        assert [held[one.symbol].quote for one in quotes[1:]] == quotes[1:]
        assert held["S7"].trade == trade("S7")
        assert store.place() == Place(3, 2)

    def test_redis_that_fell_back_to_an_older_state_is_filled_again(self, store: Store) -> None:
        fallen = redis()
        store.put_many([quote("QUIET")], Place(1, 1))
        older = {key: fallen.dump(key) for key in fallen.scan_iter("openbell:latest:*")}
        store.put_many([quote("QUIET", sequence=2)], Place(1, 2))
        for key, state in older.items():
            fallen.restore(key, 0, state, replace=True)

        store.put_many([quote("AAPL")], Place(1, 3))

        assert store.get_many(["QUIET"])["QUIET"].quote == quote("QUIET", sequence=2)
        assert store.place() == Place(1, 3)

    def test_what_is_older_than_the_feed_is_left_to_the_table(self, store: Store) -> None:
        from quotes.latest.redis import RedisStore

        fallen = redis()
        store.put_many([quote("QUIET"), trade("AAPL")], Place(1, 1))
        older = {key: fallen.dump(key) for key in fallen.scan_iter("openbell:latest:*")}
        store.put_many([quote("QUIET", sequence=2), trade("AAPL", sequence=2)], Place(1, 2))
        restarted = RedisStore(settings.REDIS_URL)
        restarted.put_many([quote("AAPL", epoch=2)], Place(2, 1))
        for key, state in older.items():
            fallen.restore(key, 0, state, replace=True)

        restarted.put_many([], Place(2, 2))

        found = restarted.get_many(["QUIET", "AAPL"])
        assert found == {"AAPL": Latest(quote("AAPL", epoch=2), None)}

    def test_what_is_forgotten_while_it_is_written_anew_is_written_once_more(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from quotes.latest import redis as module

        monkeypatch.setattr(module, "SYMBOLS_PER_CALL", 1)
        store.put_many([quote("AAPL"), quote("IBM")], Place(1, 1))
        redis().flushdb()
        send, calls = store._put, []  # type: ignore[attr-defined]

        def forgetting(*written: Any) -> Any:
            calls.append(written)
            if len(calls) == 4:  # after one symbol of the second writing
                redis().flushdb()
            return send(*written)

        monkeypatch.setattr(store, "_put", forgetting)
        store.put_many([], Place(1, 2))
        assert store.place() is None

        store.put_many([], Place(1, 3))

        assert store.get_many(["AAPL", "IBM"]).keys() == {"AAPL", "IBM"}
        assert store.place() == Place(1, 3)

    def test_a_feed_that_was_succeeded_says_no_more_how_far_the_feed_is(self, store: Store) -> None:
        from quotes.latest.redis import RedisStore

        store.put_many([quote()], Place(1, 7))
        successor = RedisStore(settings.REDIS_URL)
        successor.put_many([quote(epoch=2)], Place(2, 1))

        store.put_many([quote(sequence=8)], Place(1, 8))

        assert store.place() == Place(2, 1)
        assert store.get_many(["AAPL"])["AAPL"].quote == quote(epoch=2)


def redis() -> Any:
    from redis import Redis

    return Redis.from_url(settings.REDIS_URL)


class TestAwayRedis:
    def test_reads_find_nothing_and_writes_wait(self) -> None:
        pytest.importorskip("redis")
        from quotes.latest.redis import RedisStore

        store = RedisStore("redis://127.0.0.1:1/0")
        store.put_many([quote(sequence=1), trade()])
        store.put_many([quote(sequence=2)])

        assert store.get_many(["AAPL"]) == {}
        assert store._unsent == {("quote", "AAPL"), ("trade", "AAPL")}
        assert sorted(store._put_here.values()) == sorted([quote(sequence=2), trade()])


@pytest.fixture
def instruments(db: None) -> list[Instrument]:
    return [Instrument.objects.create(symbol=symbol) for symbol in ("AAPL", "BRK.B", "MSFT")]


def save(ticks: dict[str, Latest]) -> None:
    with transaction.atomic():
        rows.save(ticks)


def test_table_gives_back_what_was_saved(instruments: list[Instrument]) -> None:
    known = {
        "AAPL": Latest(quote(epoch=3), trade(epoch=2)),
        "BRK.B": Latest(quote("BRK.B")._replace(ask=0, resolution="minute"), None),
    }
    save(known)
    assert rows.load(["AAPL", "BRK.B", "MSFT"]) == known


def test_saving_again_replaces(instruments: list[Instrument]) -> None:
    save({"AAPL": Latest(quote(), trade())})
    save({"AAPL": Latest(quote(sequence=2), trade(sequence=5))})
    assert rows.load(["AAPL"]) == {"AAPL": Latest(quote(sequence=2), trade(sequence=5))}


def test_symbol_without_an_instrument_is_passed_over(instruments: list[Instrument]) -> None:
    save({"AAPL": Latest(quote(), None), "GONE": Latest(quote("GONE"), None)})
    assert LatestQuote.objects.count() == 1


def test_misses_cost_one_query_and_are_kept(instruments: list[Instrument]) -> None:
    save({symbol: Latest(quote(symbol), trade(symbol)) for symbol in ("AAPL", "BRK.B", "MSFT")})
    latest.put_many([quote("MSFT", sequence=9)])

    with CaptureQueriesContext(connection) as first:
        found = latest.get_many(["AAPL", "BRK.B", "MSFT", "AAPL"])
    with CaptureQueriesContext(connection) as second:
        again = latest.get_many(["AAPL", "BRK.B", "MSFT"])

    assert (len(first), len(second)) == (1, 0)
    assert found == again
    assert found["AAPL"] == Latest(quote(), trade())
    assert found["MSFT"].quote == quote("MSFT", sequence=9)


def test_a_trade_is_known_before_there_is_a_quote(instruments: list[Instrument]) -> None:
    latest.put_many([trade("NEW"), trade("AAPL", sequence=9)])
    with transaction.atomic():
        rows.save({"AAPL": Latest(quote(sequence=3), trade(sequence=3))})

    assert latest.get("NEW") == Latest(None, trade("NEW"))
    assert latest.get("AAPL") == Latest(quote(sequence=3), trade(sequence=9))


def test_unknown_symbol_has_nothing(instruments: list[Instrument]) -> None:
    assert latest.get("NONE") == NOTHING


def test_newer_tick_survives_a_late_load(instruments: list[Instrument]) -> None:
    save({"AAPL": Latest(quote(sequence=1), None)})
    loaded = rows.load(["AAPL"])
    latest.put_many([quote(sequence=2)])

    latest.put_many([loaded["AAPL"].quote])

    assert latest.get("AAPL").quote == quote(sequence=2)
