"""Two shards that meet on the same accounts: one's fills wait for the other's, and none is lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from django.db import connection

from events.leases import Lease, acquire
from events.models import Event
from portfolios.models import Account
from quotes.clock import forget_clock, market_clock
from quotes.models import MarketClock
from tests.conftest import LONG
from tests.meeting import WAIT_SECONDS_MAX, only_with_row_locks, together
from tests.portfolios.factories import assert_books_balance, funded_account, make_instrument
from tests.trading.floor import TradingFloor
from trading import orders
from trading.execution import lanes, pending, settlement
from trading.execution.decisions import Decision
from trading.execution.engine import Engine
from trading.execution.engines import engine_for
from trading.execution.shards import Shard
from trading.models import Fill, Order, OrderStatus

pytestmark = pytest.mark.django_db(transaction=True)

SHARDS = (Shard(0, 2), Shard(1, 2))
ORDERS_EACH = 200 if LONG else 30  # of an account in each shard


class Floor(TradingFloor):
    """A recorded market of two instruments, each executed by an engine of its own."""

    def __init__(self) -> None:
        super().__init__(lanes=2)
        names = {SHARDS[0].has(name): name for name in ("AAPL", "MSFT", "SPY", "IBM")}
        self.symbols = ("AAPL", names[not SHARDS[0].has("AAPL")])
        make_instrument(self.symbols[1])
        MarketClock.objects.filter(pk=1).update(mode=MarketClock.Mode.REPLAY)
        market_clock().refresh()
        self.engines = [self.start(shard) for shard in SHARDS]

    def start(self, shard: Shard) -> Engine:
        lease = acquire(shard.lease_name)
        assert lease is not None
        engine = engine_for(lease, lanes=self.lanes, shard=shard)
        for symbol in self.symbols:
            engine._hear_quote(self.quote(symbol=symbol, ask_size=10**6, bid_size=10**6))
        return engine


@pytest.fixture
def floor(monkeypatch: pytest.MonkeyPatch) -> Iterator[Floor]:
    only_with_row_locks()
    monkeypatch.setattr(lanes, "WORTH_A_LANE", 2)
    monkeypatch.setattr(pending, "BATCH_MAX_IN_LANES", 6)  # so that they meet often
    forget_clock()
    floor = Floor()
    yield floor
    for engine in floor.engines:
        engine.pending.lease.release()
        engine.close()


def run(engine: Engine) -> int:
    """Admit and settle until nothing is left to do; how often accounts were found locked."""
    deadline, found_locked = time.monotonic() + WAIT_SECONDS_MAX, 0
    engine.admissions.admit_accepted(set())
    while len(engine.pending):
        assert time.monotonic() < deadline, "settlement stands still"
        engine.pending.lease.renew_if_due()
        engine._settle()
        found_locked += len(engine.pending)
    return found_locked


def place(floor: Floor, accounts: list[Account]) -> None:
    for _ in range(ORDERS_EACH):
        for account in accounts:
            for symbol in floor.symbols:
                floor.buy(account, "1", limit="100", symbol=symbol)


@pytest.fixture
def meeting(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first shard keeps the accounts that it locks first until the second has met it there."""
    locked, met = threading.Event(), threading.Event()
    truth = settlement.locked_rows

    def locked_rows(lease: Lease, decisions: Sequence[Decision], *, wait: bool) -> Any:
        is_first = lease.name.startswith(SHARDS[0].lease_name)
        if not is_first:
            assert locked.wait(WAIT_SECONDS_MAX), "the first locks nothing"
        rows = truth(lease, decisions, wait=wait)
        if is_first and rows.accounts:
            locked.set()
            assert met.wait(WAIT_SECONDS_MAX), "they never met"
        elif not is_first and {one.account_id for one in decisions} - rows.accounts.keys():
            met.set()
        return rows

    monkeypatch.setattr(settlement, "locked_rows", locked_rows)


@pytest.mark.parametrize("count", [1, 5], ids=["one account", "five accounts"])
def test_an_account_that_trades_in_both_keeps_its_books(
    floor: Floor, meeting: None, count: int
) -> None:
    accounts = [funded_account("10000000") for _ in range(count)]
    place(floor, accounts)
    first, second = floor.engines
    resting = floor.buy(accounts[0], "1", limit="60")

    def cancel() -> None:
        """What their owner does meanwhile waits its turn like the fills."""
        orders.cancel(account_id=accounts[0].pk, order_id=resting.public_id, actor="test")
        connection.close()

    *found_locked, _ = together(lambda: run(first), lambda: run(second), cancel)
    assert sum(found_locked)
    for engine in floor.engines:
        run(engine)  # the canceled one may have come back to a book

    wanted = 2 * ORDERS_EACH * count
    assert Order.objects.filter(status=OrderStatus.FILLED).count() == wanted
    assert Fill.objects.values("execution_id").distinct().count() == wanted
    for account in accounts:
        assert numbers_of(account) == [*range(1, len(numbers_of(account)) + 1)]
    assert_books_balance(*accounts)


def numbers_of(account: Account) -> list[int]:
    rows = Event.objects.filter(account_id=account.pk).order_by("account_sequence")
    return list(rows.values_list("account_sequence", flat=True))
