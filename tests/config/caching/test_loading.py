"""The stampede-safe cache: one suite of promises, kept by both stores."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.cache import caches

from config.caching import entries, loading
from config.caching.entries import Caller, Entries, LocalEntries
from config.caching.loading import HITS, MISSES, STALE, WAITS, Flight, LoadingCache
from config.caching.policy import NAMESPACES, Namespace
from events.errors import Unavailable
from tests.meeting import at_once
from tests.redis_server import running_redis
from tests.waiting import PATIENCE_SECONDS, eventually

NAME = "test"
# Nothing ends in the time of a test, unless it waits for that: then it says so.
POLICY = Namespace(
    fresh_seconds=300, stale_seconds=300, lock_seconds=120, wait_seconds=PATIENCE_SECONDS, jitter=0
)
SHORT_SECONDS = 0.1
PROMPT_SECONDS_MAX = 10.0  # of what waits for nothing that lasts, on a machine that is busy


class Broken(Exception):
    pass


def caller(token: str, policy: Namespace = POLICY) -> Caller:
    return Caller(NAME, policy, token)


class Loader:
    """Answers each key with its number of calls, and remembers what was asked."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.asked: list[list[str]] = []
        self._seconds = seconds

    def __call__(self, keys: list[str]) -> dict[str, Any]:
        self.asked.append(keys)
        if self._seconds:
            time.sleep(self._seconds)
        return {key: f"{key}{len(self.asked)}" for key in keys if not key.startswith("none")}


class HeldLoader(Loader):
    """One that has begun when it is `started`, and ends when it may `go` on."""

    def __init__(self) -> None:
        super().__init__()
        self.started, self.go = threading.Event(), threading.Event()

    def __call__(self, keys: list[str]) -> dict[str, Any]:
        self.started.set()
        assert self.go.wait(2 * PATIENCE_SECONDS)
        return super().__call__(keys)


def policy(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> None:
    monkeypatch.setitem(NAMESPACES, NAME, replace(POLICY, **changes))


def load_stale(cache: LoadingCache, monkeypatch: pytest.MonkeyPatch, **values: str) -> None:
    """Have the cache hold values that are fresh no more. The policy is the usual one then."""
    policy(monkeypatch, fresh_seconds=SHORT_SECONDS)
    assert cache.get_or_load_many(NAME, values, lambda keys: values) == values
    time.sleep(1.5 * SHORT_SECONDS)
    policy(monkeypatch)


def counted() -> list[float]:
    return [count.labels(NAME)._value.get() for count in (HITS, MISSES, STALE, WAITS)]


def count_boarded(cache: LoadingCache, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The keys for which somebody has a flight: of its own, or another's."""
    boarded: list[str] = []
    board = cache.board

    def note(name: str, keys: Iterable[str]) -> tuple[dict[str, Flight], dict[str, Flight]]:
        found = board(name, keys)
        boarded.extend(flying for flights in found for flying in flights)
        return found

    monkeypatch.setattr(cache, "board", note)
    return boarded


class CacheContract:
    """What the cache promises over every store."""

    @pytest.fixture(autouse=True)
    def _policy(self, monkeypatch: pytest.MonkeyPatch) -> None:
        policy(monkeypatch)

    @pytest.fixture
    def cache(self, store: Entries) -> LoadingCache:
        return LoadingCache(store)

    @pytest.fixture
    def elsewhere(self, store: Entries) -> LoadingCache:
        """The cache of another process with the same store."""
        return LoadingCache(store)

    def test_loads_all_that_misses_with_one_call(self, cache: LoadingCache) -> None:
        load = Loader()
        cache.get_or_load_many(NAME, ["a"], load)

        found = cache.get_or_load_many(NAME, ["a", "b", "c", "b"], load)

        assert found == {"a": "a1", "b": "b2", "c": "c2"}
        assert load.asked == [["a"], ["b", "c"]]

    def test_remembers_that_there_is_nothing(self, cache: LoadingCache) -> None:
        load = Loader()
        assert cache.get_or_load_many(NAME, ["none", "a"], load) == {"a": "a1"}
        assert cache.get_or_load_many(NAME, ["none"], load) == {}
        assert len(load.asked) == 1

    def test_thousand_requests_of_an_expired_key_load_once(
        self, cache: LoadingCache, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        load_stale(cache, monkeypatch, hot="old")
        load = Loader(seconds=0.1)

        answers = at_once(*[lambda: cache.get_or_load_many(NAME, ["hot"], load)["hot"]] * 1000)

        assert load.asked == [["hot"]]
        assert {"hot1"} <= set(answers) <= {"old", "hot1"}

    def test_many_requests_of_a_missing_key_load_once(
        self, cache: LoadingCache, elsewhere: LoadingCache
    ) -> None:
        load = Loader(seconds=0.1)
        both = [cache, elsewhere] * 50

        answers = at_once(*[lambda: both.pop().get_or_load_many(NAME, ["hot"], load)] * 100)

        assert load.asked == [["hot"]]
        assert answers == [{"hot": "hot1"}] * 100

    def test_stale_is_answered_while_one_loads(
        self, cache: LoadingCache, elsewhere: LoadingCache, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        load_stale(cache, monkeypatch, a="old")
        slow = HeldLoader()
        with ThreadPoolExecutor(1) as pool:
            job = pool.submit(cache.get_or_load_many, NAME, ["a"], slow)
            assert slow.started.wait(PATIENCE_SECONDS)
            try:
                for each in (cache, elsewhere):
                    assert each.get_or_load_many(NAME, ["a"], Loader()) == {"a": "old"}
                assert not job.done()
            finally:
                slow.go.set()
            assert job.result(PATIENCE_SECONDS) == {"a": "a1"}

    def test_dead_holder_keeps_others_waiting_no_longer_than_its_lock(
        self, store: Entries, cache: LoadingCache
    ) -> None:
        began = time.monotonic()
        short = replace(POLICY, lock_seconds=0.4)
        store.take(caller("somebody who was killed", short), ["a"])
        load = Loader()

        answers = at_once(*[lambda: cache.get_or_load_many(NAME, ["a"], load)] * 20)

        assert answers == [{"a": "a1"}] * 20
        assert len(load.asked) == 1
        assert 0.9 * short.lock_seconds < time.monotonic() - began < PROMPT_SECONDS_MAX

    def test_own_keys_are_loaded_before_others_are_waited_for(
        self, store: Entries, cache: LoadingCache
    ) -> None:
        theirs = store.take(caller("another's"), ["theirs"])
        load = Loader()

        def load_and_let_go(keys: list[str]) -> dict[str, Any]:
            store.give(caller("another's"), theirs.generation, {"theirs": None})
            return load(keys)

        found = cache.get_or_load_many(NAME, ["theirs", "ours"], load_and_let_go)

        assert found.keys() == {"theirs", "ours"}
        assert load.asked == [["ours"], ["theirs"]]

    def test_lock_that_is_ours_no_more_writes_nothing(self, store: Entries) -> None:
        late = store.take(caller("late", replace(POLICY, lock_seconds=SHORT_SECONDS)), ["a"])
        time.sleep(1.5 * SHORT_SECONDS)
        assert store.take(caller("next"), ["a"]).locked == ["a"]

        store.give(caller("late"), late.generation, {"a": b"old"})

        third = store.take(caller("third"), ["a"])
        assert (third.fresh, third.locked) == ({}, [])  # still the next one's to load
        store.give(caller("next"), late.generation, {"a": b"new"})
        assert store.take(caller("third"), ["a"]).fresh == {"a": b"new"}

    @pytest.mark.parametrize("keys", [None, ["a"]])
    def test_forgotten_values_are_loaded_anew(
        self, cache: LoadingCache, elsewhere: LoadingCache, keys: list[str] | None
    ) -> None:
        load = Loader()
        cache.get_or_load_many(NAME, ["a", "b"], load)

        elsewhere.forget(NAME, keys)

        assert cache.get_or_load_many(NAME, ["a"], load) == {"a": "a2"}
        kept = cache.get_or_load_many(NAME, ["b"], load)
        assert kept == ({"b": "b3"} if keys is None else {"b": "b1"})

    @pytest.mark.parametrize("keys", [None, ["a"]])
    def test_load_that_began_before_a_change_is_not_kept(
        self, cache: LoadingCache, elsewhere: LoadingCache, keys: list[str] | None
    ) -> None:
        def load(asked: list[str]) -> dict[str, str]:
            elsewhere.forget(NAME, keys)  # changed right after it was read
            return {"a": "before"}

        assert cache.get_or_load_many(NAME, ["a"], load) == {"a": "before"}
        assert cache.get_or_load_many(NAME, ["a"], Loader()) == {"a": "a1"}

    def test_failed_load_frees_its_lock(self, cache: LoadingCache) -> None:
        with pytest.raises(ZeroDivisionError):
            cache.get_or_load_many(NAME, ["a"], lambda keys: 1 / 0)  # type: ignore[arg-type,return-value]
        assert cache.get_or_load_many(NAME, ["a"], Loader()) == {"a": "a1"}

    def test_stale_stands_in_for_a_failed_load(
        self, cache: LoadingCache, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        load_stale(cache, monkeypatch, a="old")
        found = cache.get_or_load_many(NAME, ["a"], lambda keys: 1 / 0)  # type: ignore[arg-type,return-value]
        assert found == {"a": "old"}

    def test_failure_reaches_those_who_waited_for_it(
        self, cache: LoadingCache, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        boarded = count_boarded(cache, monkeypatch)
        calls: list[list[str]] = []

        def load(keys: list[str]) -> dict[str, Any]:
            calls.append(keys)
            eventually(lambda: len(boarded) == 20, "the other 19 to board")
            raise Broken

        def outcome() -> type[Exception] | None:
            try:
                cache.get_or_load_many(NAME, ["a"], load)
            except (Broken, Unavailable) as error:
                return type(error)
            return None

        with ThreadPoolExecutor(1) as pool:
            first = pool.submit(outcome)
            eventually(lambda: calls, "the load to begin")
            assert at_once(*[outcome] * 19) == [Broken] * 19
            assert first.result(PATIENCE_SECONDS) is Broken
        assert calls == [["a"]]

    def test_load_that_never_ends_is_not_waited_for(
        self, cache: LoadingCache, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        policy(monkeypatch, wait_seconds=0.2)
        never = HeldLoader()
        with ThreadPoolExecutor(1) as pool:
            job = pool.submit(cache.get_or_load_many, NAME, ["a"], never)
            assert never.started.wait(PATIENCE_SECONDS)
            began = time.monotonic()
            try:
                with pytest.raises(Unavailable):
                    cache.get_or_load_many(NAME, ["a"], Loader())
                assert time.monotonic() - began < PROMPT_SECONDS_MAX
                assert not job.done()
            finally:
                never.go.set()

    def test_counts_hits_misses_stale_answers_and_waits(
        self, cache: LoadingCache, store: Entries, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = counted()
        cache.get_or_load_many(NAME, ["b", "c"], Loader())
        cache.get_or_load_many(NAME, ["b", "c", "e"], Loader())
        load_stale(cache, monkeypatch, a="old")
        others = store.take(caller("another's"), ["a", "d"])
        with ThreadPoolExecutor(1) as pool:
            job = pool.submit(cache.get_or_load_many, NAME, ["a", "d"], Loader())
            eventually(lambda: counted()[-1] > before[-1], "the wait for d")
            store.give(caller("another's"), others.generation, {"a": None, "d": None})
            assert job.result(PATIENCE_SECONDS) == {"a": "old", "d": "d1"}
        assert [new - old for new, old in zip(counted(), before, strict=True)] == [2, 5, 1, 1]


class TestLocal(CacheContract):
    @pytest.fixture
    def store(self) -> Entries:
        return LocalEntries()

    def test_memory_is_bounded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(entries, "BYTES_MAX", 100)
        store = LocalEntries()
        for number in range(20):
            key = str(number)
            store.take(caller("t"), [key])
            store.give(caller("t"), "", {key: b"x" * 30})
        held = [str(n) for n in range(20) if store.take(caller("t"), [str(n)]).fresh]
        assert held == ["17", "18", "19"]


@pytest.mark.skipif(not os.environ.get("REDIS_URL"), reason="NO REDIS: set REDIS_URL")
class TestRedis(CacheContract):
    @pytest.fixture
    def store(self) -> Entries:
        from redis import BlockingConnectionPool, Redis

        from config.caching.redis_entries import RedisEntries

        # A thousand threads share these, and wait for their turn.
        pool = BlockingConnectionPool.from_url(settings.REDIS_URL, max_connections=40, timeout=20)
        return RedisEntries(Redis(connection_pool=pool))

    def test_two_hundred_misses_are_two_round_trips(
        self, cache: LoadingCache, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from redis.connection import Connection

        keys, load = [f"S{n}" for n in range(200)], Loader()
        cache.get_or_load_many(NAME, ["warm"], load)
        sent, send = [], Connection.send_packed_command

        def count(connection: Connection, command: Any, *args: Any, **more: Any) -> None:
            sent.append(command)
            send(connection, command, *args, **more)

        monkeypatch.setattr(Connection, "send_packed_command", count)
        cache.get_or_load_many(NAME, keys, load)

        assert len(sent) == 2
        assert load.asked[1:] == [keys]

    def test_new_version_reads_nothing_of_the_old(
        self, cache: LoadingCache, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        load = Loader()
        cache.get_or_load_many(NAME, ["a"], load)
        policy(monkeypatch, version=2)
        assert cache.get_or_load_many(NAME, ["a"], load) == {"a": "a2"}


def test_what_was_written_together_is_due_apart() -> None:
    spread = Namespace(fresh_seconds=100, stale_seconds=0, jitter=0.1)
    seconds = [entries.fresh_for(spread) for _ in range(1000)]
    assert min(seconds) >= 90
    assert max(seconds) <= 100
    assert max(seconds) - min(seconds) > 5


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], Any]]:
    """A Redis of this test alone, to stop and to kill, and a client that does not wait for long."""
    with running_redis(tmp_path) as server:
        from redis import Redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        once = Retry(NoBackoff(), 0)
        with Redis.from_url(server.url, socket_timeout=1.0, retry=once) as client:
            yield server.process, client


@pytest.fixture
def long_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slowly a crowd comes, for all of it Redis is away."""
    monkeypatch.setattr(loading, "AWAY_SECONDS", 300.0)
    monkeypatch.setattr(loading, "FRESH_WHILE_AWAY_SECONDS", 300.0)


@pytest.mark.usefixtures("long_away")
@pytest.mark.parametrize("how", [signal.SIGSTOP, signal.SIGKILL])
def test_redis_lost_on_the_way_costs_few_loads_and_little_time(
    redis_server: Any, monkeypatch: pytest.MonkeyPatch, how: signal.Signals
) -> None:
    from redis.exceptions import RedisError

    from config.caching.redis_entries import RedisEntries

    policy(monkeypatch)
    server, client = redis_server
    cache = LoadingCache(RedisEntries(client), (RedisError,))
    load = Loader()
    assert cache.get_or_load_many(NAME, ["hot"], load) == {"hot": "hot1"}

    server.send_signal(how)
    os.waitid(os.P_PID, server.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
    began = time.monotonic()
    answers = at_once(*[lambda: cache.get_or_load_many(NAME, ["hot", "cold"], load)] * 100)

    # One after another they would wait a second each.
    assert time.monotonic() - began < PROMPT_SECONDS_MAX
    assert answers == [{"hot": "hot2", "cold": "cold2"}] * 100
    assert load.asked[1:] == [["hot", "cold"]]


class BreakingStore(LocalEntries):
    """Redis that stops answering, before a given call."""

    def __init__(self, breaks_at: str) -> None:
        super().__init__()
        self._breaks_at = breaks_at

    def take(self, *args: Any) -> Any:
        if self._breaks_at == "take":
            raise Broken
        return super().take(*args)

    def give(self, *args: Any) -> None:
        if self._breaks_at == "give":
            raise Broken
        super().give(*args)


@pytest.mark.usefixtures("long_away")
@pytest.mark.parametrize("breaks_at", ["take", "give"])
def test_without_redis_loads_stay_bounded(monkeypatch: pytest.MonkeyPatch, breaks_at: str) -> None:
    policy(monkeypatch)
    cache, load = LoadingCache(BreakingStore(breaks_at), (Broken,)), Loader(seconds=0.05)

    answers = at_once(*[lambda: cache.get_or_load_many(NAME, ["hot"], load)["hot"]] * 100)

    assert len(answers) == 100
    # Once, and once more for those who came while it broke.
    assert len(load.asked) <= 2


def test_settings_name_a_cache_that_the_process_shares() -> None:
    found = at_once(*[lambda: caches["quotes"].loading] * 4)  # type: ignore[attr-defined]
    assert len({id(each) for each in found}) == 1
