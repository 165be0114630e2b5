"""A consumer of the event log, killed between any two statements: it leaves no event out."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from django.db import transaction

from events import chain, cursors, log, relay
from events.leases import acquire
from events.models import ChainHead, Event
from tests.faults.crash_points import Armed, Fork

pytestmark = pytest.mark.django_db(transaction=True)

EVENTS = 5
BATCH = 2
POINTS_MAX = 100


@pytest.fixture(autouse=True)
def chained() -> None:
    ChainHead.objects.create(pk=ChainHead.ONLY, sequence=0, hash=chain.GENESIS)
    with transaction.atomic():
        for _ in range(EVENTS):
            log.record("test.happened", actor="test")
    lease = acquire(relay.LEASE_NAME, "test")
    assert lease is not None
    relay.sequence(lease, relay.unchained(relay.BATCH))


def test_killed_at_any_point_it_leaves_none_out(fork: Fork, tmp_path: Path) -> None:
    file = tmp_path / "handled"

    def handle(events: list[Event]) -> None:
        with file.open("a") as handled:
            handled.writelines(f"{event.sequence}\n" for event in events)
            handled.flush()
            os.fsync(handled.fileno())

    def read_all() -> None:
        while cursors.consume_once("test", handle, batch=BATCH):
            pass

    twice = 0
    for point in range(1, POINTS_MAX):
        cursors.rewind("test", 0)
        file.unlink(missing_ok=True)
        reader = fork(read_all, Armed(point))
        if reader.wait() == 0:
            break
        assert reader.result == -signal.SIGKILL
        assert fork(read_all).wait() == 0
        handled = [int(line) for line in file.read_text().split()]
        assert sorted(set(handled)) == [*range(1, EVENTS + 1)], reader.struck_at()
        twice += len(handled) > EVENTS
    else:
        pytest.fail(f"a run has more than {POINTS_MAX} points")
    assert twice > 1  # killed between the handling and the cursor
