"""The relay, killed between any two statements and stopped there: the chain stays whole."""

from __future__ import annotations

import signal
import threading
import time
from dataclasses import dataclass
from itertools import count

import pytest
from django.db import connection, transaction

from events import chain, leases, log, relay
from events.models import Event, Lease
from events.relay import LEASE_NAME, run_relay
from tests.conftest import LONG
from tests.faults.crash_points import (
    BYSTANDER,
    TAKEOVER_SECONDS_MAX,
    WAIT_SECONDS_MAX,
    Armed,
    Fork,
    owner_of,
)
from tests.waiting import eventually

pytestmark = pytest.mark.django_db(transaction=True)

STRIDE = 1 if LONG else 4
POINTS_MAX = 500
TAKEOVERS = 10 if LONG else 1
SMALL_BATCH = 4

# What a relay of the whole run is killed at, among much else.
STATEMENTS = (
    "UPDATE events_lease SET epoch",
    "UPDATE events_lease SET expires_at",
    "INSERT INTO events_salt",
    "UPDATE events_event",
    "UPDATE events_chainhead",
    "before COMMIT",
    "after COMMIT",
)
# Where an owner stops: before that statement.
STOPS = [
    pytest.param("UPDATE events_chainhead", id="holding the head of the chain"),
    pytest.param("within COMMIT", id="in the middle of a commit", marks=pytest.mark.long),
    pytest.param("UPDATE events_lease SET expires_at", id="about to renew", marks=pytest.mark.long),
]

_numbers = count(1)


@dataclass
class Account:
    pk: int
    event_sequence: int = 0


@transaction.atomic
def write() -> None:
    """Three batches of events: of an account that is new to the relay, and of none."""
    account = Account(next(_numbers))
    for n in range(SMALL_BATCH):
        log.record("test.happened", actor="test", account=account, payload={"n": n})
        log.record("test.happened", actor="test", payload={"n": n})
    log.record("test.happened", actor="test", account=account)


def is_all_chained() -> bool:
    return not Event.objects.filter(sequence=None).exists()


def assert_whole(when: str) -> None:
    assert chain.verify() is None, when
    numbers = Event.objects.order_by("sequence").values_list("sequence", flat=True)
    assert list(numbers) == [*range(1, Event.objects.count() + 1)], when


def chain_all() -> None:
    """Run the relay until nothing is left to chain."""
    stop = threading.Event()

    def watch() -> None:
        deadline = time.monotonic() + WAIT_SECONDS_MAX
        while not is_all_chained() and time.monotonic() < deadline:
            time.sleep(0.01)
        stop.set()
        connection.close()

    watcher = threading.Thread(target=watch, name=BYSTANDER)
    watcher.start()
    run_relay(stop)
    watcher.join()


def chain_all_in_haste() -> None:
    """In small batches, and so that nobody waits for the lease that it leaves."""
    leases.RENEW_SECONDS = leases.EXPIRE_SECONDS = 0.02
    relay.IDLE_SECONDS = 0.03
    relay.BATCH = SMALL_BATCH
    chain_all()


def chain_until_told() -> None:
    told = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: told.set())
    run_relay(told)


def test_the_relay_is_killed_between_any_two_statements(fork: Fork) -> None:
    struck = []
    for point in range(1, POINTS_MAX, STRIDE):
        write()
        owner = fork(chain_all_in_haste, Armed(point))
        if owner.wait() == 0:
            break
        struck.append(owner.struck_at())
        when = f"killed at point {point}: {struck[-1]}"
        assert owner.result == -signal.SIGKILL, when
        assert fork(chain_all).wait() == 0, when
        assert is_all_chained(), when
        assert_whole(when)
    else:
        pytest.fail(f"a run has more than {POINTS_MAX} points")
    assert len(struck) > 30 // STRIDE
    if STRIDE == 1:
        for point in STATEMENTS:
            assert any(point in one for one in struck), f"never killed at {point}"


def test_the_standby_chains_within_two_seconds(fork: Fork) -> None:
    owner, standby = fork(chain_until_told), fork(chain_until_told)
    for _ in range(TAKEOVERS):
        write()
        eventually(is_all_chained, "the relay")
        if owner_of(LEASE_NAME) == standby.pid:
            owner, standby = standby, owner
        killed_at = time.monotonic()
        owner.send(signal.SIGKILL)
        eventually(lambda owner=standby.pid: owner_of(LEASE_NAME) == owner, "the standby")
        assert time.monotonic() - killed_at < TAKEOVER_SECONDS_MAX
        write()
        eventually(is_all_chained, "the standby")
        owner, standby = standby, fork(chain_until_told)
    assert_whole("taken over")


@pytest.mark.skipif("connection.vendor != 'mysql'", reason="SQLite serves one process")
@pytest.mark.parametrize("where", STOPS)
def test_a_stopped_relay_does_no_harm_when_it_goes_on(fork: Fork, where: str) -> None:
    write()
    stopped = fork(chain_until_told, Armed(1, signal.SIGSTOP, only=where))
    stopped.wait_for_stop()
    stopped_at = time.monotonic()
    standby = fork(chain_until_told)
    eventually(lambda: owner_of(LEASE_NAME) == standby.pid, "the standby")
    assert time.monotonic() - stopped_at < TAKEOVER_SECONDS_MAX
    eventually(is_all_chained, "the standby")
    epoch = Lease.objects.get(name=LEASE_NAME).epoch

    stopped.send(signal.SIGCONT)
    write()
    eventually(is_all_chained, "the relay beside its former owner")
    assert (owner_of(LEASE_NAME), Lease.objects.get(name=LEASE_NAME).epoch) == (standby.pid, epoch)

    standby.send(signal.SIGKILL)
    write()
    eventually(is_all_chained, "the former owner to take over")
    assert owner_of(LEASE_NAME) == stopped.pid
    assert_whole(where)
