"""Databases that die, hang or fall behind while people trade: what the ladder promises them."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from tests.faults.floor import (
    ACCOUNT,
    FIRST,
    MARKET,
    PRIMARY,
    PUBLIC,
    SECOND,
    WRITE,
    Floor,
    wait_until,
)
from tests.faults.load import MARKET_READS

BOTH = ("replica_1", "replica_2")
EJECTED_SECONDS_MAX = 6.0  # a look each second, which may wait a second; lag has to grow to 2 s
RETURN_SECONDS_MAX = 20.0  # the watcher looks each second, and the server starts
# A read that a hanging replica catches: 2 s for the statement, then once more on the primary.
CAUGHT_SECONDS_MAX = 5.0
PIN_SECONDS = 4.0  # what has changed is read from the primary for so long
HUNG_SECONDS = 3.0  # by then the primary counts as away
BEYOND_TIME_OUTS_SECONDS = 16.0
PROMPT_SECONDS_MAX = 3.0
ROUNDS = 5

Hurt = Callable[..., AbstractContextManager[None]]


@contextmanager
def killed(floor: Floor, *nodes: int) -> Iterator[None]:
    """Servers that are dead for the length of the block, and then started by their watcher."""
    with floor.unwatched():
        for node in nodes:
            floor.signal_database(node, signal.SIGKILL)
        yield


@contextmanager
def hung(floor: Floor, node: int) -> Iterator[None]:
    with floor.stopped(floor.database_pid(node)):
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

    wait_until(well, RETURN_SECONDS_MAX, "both replicas to be read from")


def until_ejected(floor: Floor, *aliases: str) -> None:
    def ejected() -> bool:
        return all(floor.left_out(alias) for alias in aliases)

    wait_until(ejected, EJECTED_SECONDS_MAX, f"{aliases} to be left out")


def lose_a_replica(floor: Floor, hurt: Hurt) -> None:
    """The other answers, nobody hears of it, and it is read from again once it is well."""
    until_all_is_well(floor)
    begun = time.monotonic()

    with hurt(floor, FIRST):
        until_ejected(floor, "replica_1")
        assert floor.in_use("replica_2")

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
        time.sleep(0.5)

    assert floor.load.since(gone, MARKET)
    until_all_is_well(floor)
    assert [each for each in floor.load.since(begun) if each.is_trouble] == []
    floor.settle(begun, slowest=CAUGHT_SECONDS_MAX)


def lose_the_primary(floor: Floor) -> None:
    """Reads of no account go on, those of an account once its pin is over; writes hear 503."""
    until_all_is_well(floor)
    load, begun = floor.load, time.monotonic()

    with killed(floor, PRIMARY):
        time.sleep(PIN_SECONDS + 1.5)
        assert floor.readiness()["database"] == "read only"
        ended = time.monotonic()

    wait_until(lambda: floor.answers(PRIMARY), RETURN_SECONDS_MAX, "the primary")
    floor.until_orders_fill()
    reads = load.since(begun, MARKET, PUBLIC)
    assert [each for each in reads if each.status != 200] == []
    pinned = load.since(begun, ACCOUNT)
    assert [each for each in pinned if each.status not in (200, 503)] == []
    unpinned = load.since(begun + PIN_SECONDS + 0.5, ACCOUNT, until=ended)
    assert unpinned
    assert [each for each in unpinned if each.status != 200] == []
    writes = load.since(begun + 0.1, WRITE, until=ended)
    assert writes
    assert [each for each in writes if each.status != 503] == []
    floor.settle(begun, slowest=PROMPT_SECONDS_MAX)


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
