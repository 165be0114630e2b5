"""Databases that die, hang or fall behind while people trade: what the ladder promises them."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from tests.conftest import LONG
from tests.faults.floor import (
    ACCOUNT,
    FIRST,
    MARKET,
    PRIMARY,
    PUBLIC,
    REQUEST_SECONDS_MAX,
    SECOND,
    WRITE,
    Floor,
)
from tests.faults.load import MARKET_READS, Load
from tests.running import stopped
from tests.waiting import eventually

BOTH = ("replica_1", "replica_2")
# A look each second, which may wait a second; lag has to grow to 2 s.
EJECTED_SECONDS_MAX = 6.0 if LONG else 30.0
# The watcher looks each second, and the server starts.
RETURN_SECONDS_MAX = 20.0 if LONG else 60.0
# A read that a hanging replica catches: 2 s for the statement, then once more on the primary.
CAUGHT_SECONDS_MAX = 5.0 if LONG else REQUEST_SECONDS_MAX
# What has changed is read from the primary for 4 s; then a few reads have to come in.
UNPINNED_SECONDS_MAX = 4.0 + (1.5 if LONG else 30.0)
UNPINNED_READS = 6
HUNG_SECONDS = 3.0  # by then the primary counts as away
BEYOND_TIME_OUTS_SECONDS = 16.0
PROMPT_SECONDS_MAX = 3.0 if LONG else REQUEST_SECONDS_MAX
ROUNDS = 5

Hurt = Callable[..., AbstractContextManager[None]]


@contextmanager
def killed(floor: Floor, *nodes: int) -> Iterator[None]:
    """Servers that are dead for the length of the block, and then started by their watcher."""
    with floor.unwatched_databases():
        for node in nodes:
            floor.signal_database(node, signal.SIGKILL)
        yield


@contextmanager
def hung(floor: Floor, node: int) -> Iterator[None]:
    with stopped(floor.database_pid(node)):
        yield


@contextmanager
def lagging(floor: Floor, node: int) -> Iterator[None]:
    delay = "STOP SLAVE; CHANGE MASTER TO MASTER_DELAY = {}; START SLAVE"
    floor.sql(node, delay.format(30))
    try:
        yield
    finally:
        floor.sql(node, delay.format(0))


def until_all_is_well(floor: Floor) -> None:
    def well() -> bool:
        return all(floor.in_use(alias) for alias in BOTH)

    eventually(well, "both replicas to be read from", RETURN_SECONDS_MAX)


def until_ejected(floor: Floor, *aliases: str) -> None:
    def ejected() -> bool:
        return all(floor.left_out(alias) for alias in aliases)

    eventually(ejected, f"{aliases} to be left out", EJECTED_SECONDS_MAX)


def lose_a_replica(floor: Floor, hurt: Hurt) -> None:
    """The other answers, nobody hears of it, and it is read from again once it is well."""
    until_all_is_well(floor)
    begun = time.monotonic()

    with hurt(floor, FIRST):
        until_ejected(floor, "replica_1")
        eventually(lambda: floor.in_use("replica_2"), "the other to be read from")

    until_all_is_well(floor)
    assert [each for each in floor.load.since(begun) if each.is_trouble] == []
    floor.settle(begun, slowest=CAUGHT_SECONDS_MAX)


def lose_all_replicas(floor: Floor) -> None:
    """The primary serves all reads."""
    until_all_is_well(floor)
    begun = time.monotonic()

    with killed(floor, FIRST, SECOND):
        until_ejected(floor, *BOTH)
        gone = time.monotonic()
        eventually(lambda: floor.load.since(gone, MARKET), "an answer of the primary")

    until_all_is_well(floor)
    assert [each for each in floor.load.since(begun) if each.is_trouble] == []
    floor.settle(begun, slowest=CAUGHT_SECONDS_MAX)


def lose_the_primary(floor: Floor) -> None:
    """Reads of no account go on, those of an account once its pin is over; writes hear 503."""
    until_all_is_well(floor)
    load, begun = floor.load, time.monotonic()

    with killed(floor, PRIMARY):
        eventually(lambda: not floor.answers(PRIMARY), "the primary to be gone")
        gone = time.monotonic()
        until_accounts_are_read(load, gone)
        eventually(lambda: floor.readiness()["database"] == "read only", "the word of it")
        ended = time.monotonic()

    eventually(lambda: floor.answers(PRIMARY), "the primary", RETURN_SECONDS_MAX)
    floor.until_orders_fill()
    reads = load.since(begun, MARKET, PUBLIC)
    assert [each for each in reads if each.status != 200] == []
    pinned = load.since(begun, ACCOUNT)
    assert [each for each in pinned if each.status not in (200, 503)] == []
    writes = [each for each in load.since(gone, WRITE) if each.answered_at < ended]
    assert writes
    assert [each for each in writes if each.status != 503] == []
    floor.settle(begun, slowest=PROMPT_SECONDS_MAX)


def until_accounts_are_read(load: Load, since: float) -> None:
    """Wait until the last few reads of accounts came in, each of what was asked by then."""

    def they_are() -> bool:
        lately = load.since(since, ACCOUNT)[-UNPINNED_READS:]
        return [each.status for each in lately] == [200] * UNPINNED_READS

    eventually(they_are, "accounts to be read from replicas", UNPINNED_SECONDS_MAX)


def hang_the_primary(floor: Floor, seconds: float = HUNG_SECONDS) -> None:
    """Whoever is caught waits for its time-outs at most; whoever comes later is told at once."""
    until_all_is_well(floor)
    load, person = floor.load, floor.load.people[0]
    client = load.client(person)
    begun = time.monotonic()

    with hung(floor, PRIMARY):
        time.sleep(seconds)
        later = time.monotonic()
        for path in MARKET_READS:
            assert client.ask(MARKET, "GET", path).status == 200
        assert load.submit(client, person, side="buy", type="market").status == 503
        told = time.monotonic()

    client.close()
    assert told - later < PROMPT_SECONDS_MAX
    floor.settle(begun)


@pytest.mark.parametrize(
    "hurt",
    [
        killed,
        pytest.param(hung, marks=pytest.mark.long),
        pytest.param(lagging, marks=pytest.mark.long),
    ],
)
def test_a_replica_fails_and_nobody_notices(floor: Floor, hurt: Hurt) -> None:
    lose_a_replica(floor, hurt)


def test_all_replicas_fail_and_the_primary_serves(floor: Floor) -> None:
    lose_all_replicas(floor)


def test_the_primary_dies_and_returns(floor: Floor) -> None:
    lose_the_primary(floor)


@pytest.mark.long
def test_the_primary_hangs_and_goes_on(floor: Floor) -> None:
    hang_the_primary(floor)


@pytest.mark.long
@pytest.mark.parametrize("round_", range(ROUNDS))
def test_all_of_it_again_with_more_people(floor: Floor, round_: int) -> None:
    floor.load.grow()
    for hurt in (killed, hung, lagging):
        lose_a_replica(floor, hurt)
    lose_all_replicas(floor)
    lose_the_primary(floor)
    hang_the_primary(floor, BEYOND_TIME_OUTS_SECONDS)
