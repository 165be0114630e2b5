"""The fragments of the hot reads: never older than two seconds, whatever the bus loses."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import orjson
import pytest
from django.conf import settings

from access.gate import gate
from quotes import latest
from quotes.api import hot
from quotes.api.hot import FRESH_SECONDS, RENEW_SECONDS, Fragments, Listener
from quotes.streaming.bus import CONTROL, TICK_TOPICS, bus
from quotes.ticks import Batch, Quote
from tests.people import a_trader
from tests.waiting import PATIENCE_SECONDS, eventually


def quote(symbol: str = "AAPL", *, epoch: int = 1, sequence: int = 1, bid: int = 100) -> Quote:
    return Quote(
        symbol, 1_381_152_600_000_000, bid * 10_000, 3, bid * 10_000 + 1, 4, sequence, epoch
    )


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(hot.time, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def bids(body: bytes | None) -> dict[str, float]:
    assert body is not None
    return {symbol: item["bp"] for symbol, item in orjson.loads(body)["quotes"].items()}


def test_the_bus_keeps_fragments_fresh(clock: Clock) -> None:
    fragments = Fragments()
    latest.put_many([quote(bid=1)])

    fragments.hear(Batch((quote(bid=2), quote("MSFT", bid=3)), 0, epoch=1, number=1))

    assert bids(fragments.join(["AAPL", "MSFT"])) == {"AAPL": 2, "MSFT": 3}
    assert fragments.join_fresh(["AAPL", "MSFT"]) == fragments.join(["AAPL", "MSFT"])


def test_without_news_the_store_is_read_after_two_seconds(clock: Clock) -> None:
    fragments = Fragments()
    latest.put_many([quote(bid=1)])
    assert bids(fragments.join(["AAPL"])) == {"AAPL": 1}

    latest.put_many([quote(sequence=2, bid=2)])
    clock.now += FRESH_SECONDS - RENEW_SECONDS - 0.01
    assert bids(fragments.join_fresh(["AAPL"])) == {"AAPL": 1}
    assert bids(fragments.join(["AAPL"])) == {"AAPL": 1}
    clock.now += 0.01
    assert fragments.join_fresh(["AAPL"]) is None  # the first has to see to it
    assert bids(fragments.join_fresh(["AAPL"])) == {"AAPL": 1}
    clock.now += RENEW_SECONDS
    assert fragments.join_fresh(["AAPL"]) is None
    assert bids(fragments.join(["AAPL"])) == {"AAPL": 2}
    assert bids(fragments.join_fresh(["AAPL"])) == {"AAPL": 2}


def test_what_is_to_be_renewed_is_read_again_for_the_next_who_may(clock: Clock) -> None:
    fragments = Fragments()
    latest.put_many([quote(bid=1)])
    fragments.join(["AAPL"])
    latest.put_many([quote(sequence=2, bid=2)])

    clock.now += FRESH_SECONDS - RENEW_SECONDS

    assert bids(fragments.join(["AAPL"])) == {"AAPL": 2}


def test_a_store_that_is_away_costs_no_answer_before_its_time(clock: Clock) -> None:
    fragments = Fragments()
    fragments.hear(Batch((quote(bid=1),), 0, epoch=1, number=1))
    clock.now += FRESH_SECONDS - RENEW_SECONDS

    assert bids(fragments.join(["AAPL"])) == {"AAPL": 1}  # the store knows nothing


def test_a_store_behind_the_bus_changes_nothing(clock: Clock) -> None:
    fragments = Fragments()
    fragments.hear(Batch((quote(sequence=5, bid=5),), 0, epoch=1, number=1))
    latest.put_many([quote(sequence=4, bid=4)])
    clock.now += FRESH_SECONDS

    assert bids(fragments.join(["AAPL"])) == {"AAPL": 5}


def test_what_the_store_has_lost_is_not_answered_from_memory(clock: Clock) -> None:
    fragments = Fragments()
    fragments.hear(Batch((quote(),), 0, epoch=1, number=1))
    clock.now += FRESH_SECONDS

    assert fragments.join(["AAPL"]) is None


@pytest.mark.parametrize(
    ("epoch", "number", "bid"),
    [(1, 2, 1), (1, 3, 2), (2, 2, 2), (0, 9, 1)],
    ids=["next", "gap", "takeover", "of an old feed"],
)
def test_after_a_gap_everything_is_read_anew(
    clock: Clock, epoch: int, number: int, bid: int
) -> None:
    fragments = Fragments()
    fragments.hear(Batch((quote(bid=1),), 0, epoch=1, number=1))
    latest.put_many([quote(sequence=2, bid=2)])

    fragments.hear(Batch((), 0, epoch=epoch, number=number))

    assert bids(fragments.join(["AAPL"])) == {"AAPL": bid}


@pytest.fixture
def listener() -> Iterator[Listener]:
    if not settings.REDIS_URL:
        pytest.skip("needs a Redis: REDIS_URL")
    listener = Listener(Fragments(fresh_seconds=60), gate)
    thread = threading.Thread(target=listener.run)
    thread.start()
    yield listener
    listener.stop.set()
    thread.join(PATIENCE_SECONDS)
    assert not thread.is_alive()


@pytest.mark.redis_bus
def test_another_process_is_heard_over_redis(listener: Listener) -> None:
    fragments = listener._fragments
    number = 0

    def heard() -> bool:
        nonlocal number
        number += 1
        batch = Batch((quote(sequence=number, bid=number),), 0, epoch=1, number=number)
        bus().publish(TICK_TOPICS[0], batch)
        time.sleep(0.05)
        body = fragments.join(["AAPL"])
        return body is not None and 0 < bids(body)["AAPL"] <= number

    eventually(heard, "a quote from the bus: the store has none")


@pytest.mark.redis_bus
@pytest.mark.django_db
def test_a_revocation_is_heard_over_redis(listener: Listener) -> None:
    trader = a_trader()
    trader.client().get("/v2/clock")
    assert gate.recognise(trader.key_id, trader.secret, may_wait=False)

    def forgotten() -> bool:
        bus().publish(CONTROL, {"kind": "key_revoked", "key_id": trader.key_id})
        time.sleep(0.05)
        return gate.recognise(trader.key_id, trader.secret, may_wait=False) is None

    eventually(forgotten, "the news of the revocation")
