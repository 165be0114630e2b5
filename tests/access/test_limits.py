from __future__ import annotations

import multiprocessing
import secrets
import threading
from typing import Any

import pytest
from django.conf import settings as django_settings
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from access.limits import Limiter
from access.tokens import Alone, Draw
from tests.people import a_trader
from tests.waiting import PATIENCE_SECONDS, eventually


@pytest.fixture(autouse=True)
def _own_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("access.limits.limiter", Limiter())


@pytest.fixture
def redis_url(monkeypatch: pytest.MonkeyPatch) -> str:
    """A Redis that is not taken to be away where the machine is only busy."""
    if not django_settings.REDIS_URL:
        pytest.skip("needs a Redis: REDIS_URL")
    monkeypatch.setattr("access.redis_tokens.TIMEOUT_SECONDS", PATIENCE_SECONDS)
    return django_settings.REDIS_URL


def spend_all(limiter: Limiter, caller: str, limit: int, now: float = 59.0) -> int:
    """Requests that were allowed until the first that was not."""
    allowed = 0
    while limiter.spend(caller, limit, now).allowed:
        allowed += 1
    return allowed


def test_each_minute_starts_empty() -> None:
    limiter = Limiter(Alone())

    assert limiter.spend("a", 2, now=59.0) == (True, 1, 60)
    assert limiter.spend("a", 2, now=59.9) == (True, 0, 60)
    assert limiter.spend("a", 2, now=59.9) == (False, 0, 60)
    assert limiter.spend("b", 2, now=59.9) == (True, 1, 60)
    assert limiter.spend("a", 2, now=60.0) == (True, 1, 120)


def test_from_memory_only_what_was_drawn_is_spent() -> None:
    drawn: list[int] = []

    class Blocks:
        def draw(self, caller: str, ends_at: int, limit: int) -> Draw:
            drawn.append(2)
            return Draw(2, sum(drawn))

    limiter = Limiter(Blocks())

    assert limiter.spend_from_memory("a", 4, now=59.0) is None
    assert limiter.spend("a", 4, now=59.0) == (True, 3, 60)
    assert limiter.spend_from_memory("a", 4, now=59.0) == (True, 2, 60)
    assert limiter.spend_from_memory("a", 4, now=59.0) is None
    assert limiter.spend("a", 4, now=59.0) == (True, 1, 60)
    assert limiter.spend_from_memory("a", 4, now=59.0) == (True, 0, 60)
    assert limiter.spend_from_memory("a", 4, now=59.0) == (False, 0, 60)  # the last word
    assert limiter.spend_from_memory("a", 4, now=60.0) is None
    assert drawn == [2, 2]


def test_tokens_of_a_minute_that_ended_while_they_were_drawn_do_not_last() -> None:
    class Slow:
        def draw(self, caller: str, ends_at: int, limit: int) -> Draw:
            if ends_at == 60:
                other = threading.Thread(target=limiter.spend, args=("b", 10, 60.0))
                other.start()  # begins the next minute, then waits for its turn to draw
                eventually(lambda: limiter._ends_at == 120, "the next minute")
            return Draw(10, 10)

    limiter = Limiter(Slow())

    assert limiter.spend("a", 10, now=59.9) == (True, 0, 60)
    assert limiter.spend("a", 10, now=60.0) == (True, 9, 120)


@pytest.mark.parametrize("limit", [1, 2, 19, 200, 10_000])
def test_workers_together_never_pass_the_limit(redis_url: str, limit: int) -> None:
    from access.redis_tokens import RedisTokens

    caller = secrets.token_hex(4)
    workers = [Limiter(RedisTokens(redis_url)) for _ in range(3)]
    first = workers[0].spend(caller, limit, 59.0)

    allowed = 1 + sum(spend_all(worker, caller, limit) for worker in workers)

    assert first.left == limit - 1
    assert allowed == limit  # each spent its blocks to the end


@hypothesis_settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(limit=st.integers(1, 300), turns=st.lists(st.integers(0, 3), min_size=1, max_size=400))
def test_whoever_asks_when_never_passes_the_limit(
    redis_url: str, limit: int, turns: list[int]
) -> None:
    from access.redis_tokens import RedisTokens

    caller = secrets.token_hex(4)
    workers = [Limiter(RedisTokens(redis_url)) for _ in range(4)]

    outcomes = [workers[turn].spend(caller, limit, 59.0) for turn in turns]

    allowed = sum(spent.allowed for spent in outcomes)
    assert allowed <= limit
    # What the other three hold unspent is a block each at most, and so is the most to be missed.
    assert allowed >= min(len(turns), limit - 3 * max(1, limit // 20))


def _worker(url: str, caller: str, limit: int, answers: Any) -> None:
    from access.redis_tokens import RedisTokens

    answers.put(spend_all(Limiter(RedisTokens(url)), caller, limit))


def test_processes_at_once_never_pass_the_limit(redis_url: str) -> None:
    spawned = multiprocessing.get_context("fork")
    answers, caller = spawned.Queue(), secrets.token_hex(4)
    workers = [
        spawned.Process(target=_worker, args=(redis_url, caller, 5_000, answers)) for _ in range(4)
    ]
    for worker in workers:
        worker.start()
    allowed = [answers.get(timeout=2 * PATIENCE_SECONDS) for _ in workers]
    for worker in workers:
        worker.join(PATIENCE_SECONDS)

    assert sum(allowed) == 5_000


def test_without_redis_a_process_counts_alone() -> None:
    from access.redis_tokens import RedisTokens

    limiter = Limiter(RedisTokens("redis://127.0.0.1:1/0"))  # nobody listens on port 1

    assert spend_all(limiter, "a", 7) == 7


@pytest.mark.django_db
def test_every_answer_says_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("access.limits.time.time", lambda: 1_000_000_000.0)
    client = a_trader().client()

    client.get("/v2/clock")
    answer = client.get("/v2/assets/NOSUCH")

    limit, left = (int(answer.headers[f"X-RateLimit-{name}"]) for name in ("Limit", "Remaining"))
    assert answer.status_code == 404
    assert left == limit - 2
    assert int(answer.headers["X-RateLimit-Reset"]) % 60 == 0


@pytest.mark.django_db
def test_beyond_the_limit_is_429_with_the_time_to_wait(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.RATE_LIMIT_PER_MINUTE = 2
    monkeypatch.setattr("access.limits.time.time", lambda: 1_000_000_000.0)
    trader = a_trader()
    client = trader.client()

    statuses = [client.get("/v2/clock").status_code for _ in range(2)]
    refused = client.get("/v2/clock")

    assert statuses == [200, 200]
    assert (refused.status_code, refused.json()["code"]) == (429, 42910000)
    assert refused.headers["X-RateLimit-Remaining"] == "0"
    assert refused.headers["Retry-After"] == "20"
    assert a_trader().client().get("/v2/clock").status_code == 200


@pytest.mark.django_db
def test_trading_and_data_are_counted_apart(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.RATE_LIMIT_PER_MINUTE = 1
    monkeypatch.setattr("access.limits.time.time", lambda: 1_000_000_000.0)
    client = a_trader().client()

    assert client.get("/v2/clock").status_code == 200
    assert client.get("/v2/clock").status_code == 429
    assert client.get("/v2/stocks/quotes/latest?symbols=AAPL").status_code == 200


@pytest.mark.django_db
def test_a_request_with_an_idempotency_key_is_counted_once_whatever_becomes_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("access.limits.time.time", lambda: 1_000_000_000.0)
    client = a_trader().client()

    def left(key: str, name: str = "Mine", status: int = 200) -> int:
        answer = client.post(
            "/v2/watchlists",
            {"name": name, "symbols": []},
            content_type="application/json",
            headers={"Idempotency-Key": key},
        )
        assert answer.status_code == status, answer.content
        return int(answer.headers["X-RateLimit-Remaining"])

    before = left("once")
    assert left("once") == before - 1  # a replay
    assert left("once", "Another", 422) == before - 2  # another request under its key
    assert left("two words", status=422) == before - 3
    assert left("twice", status=422) == before - 4  # the name is taken


@pytest.mark.django_db
def test_keys_that_are_refused_run_into_the_limit(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("access.limits.time.time", lambda: 1_000_000_000.0)
    settings.RATE_LIMIT_PER_MINUTE = 1
    client = a_trader().client()

    statuses = [
        client.post("/v2/watchlists", headers={"Idempotency-Key": "two words"}).status_code
        for _ in range(2)
    ]

    assert statuses == [422, 429]
