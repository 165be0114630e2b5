"""Shards: each instrument belongs to one, all have an owner, and nobody divides otherwise."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from string import ascii_uppercase

import pytest
from django.core.management import CommandError, call_command
from hypothesis import given
from hypothesis import strategies as st

from events import leases, models
from events.leases import DatabaseTime, Lease, LeaseLost, acquire, seize
from quotes.clock import forget_clock, market_clock
from quotes.models import Instrument, MarketClock
from quotes.streaming.bus import TICK_TOPICS
from quotes.ticks import Batch
from tests.portfolios.factories import assert_books_balance, funded_account, make_instrument
from tests.trading.floor import NOON, TradingFloor, now_of
from trading.execution.engine import Engine
from trading.execution.engines import engine_for
from trading.execution.shards import WHOLE, CannotShare, Shard, make_sure, refuse_other_numbers
from trading.execution.sharing import Sharing
from trading.models import Fill

FIRST, SECOND = Shard(0, 2), Shard(1, 2)
ELSEWHERE = next(name for name in ("MSFT", "SPY", "IBM") if FIRST.has(name) != FIRST.has("AAPL"))


@pytest.fixture(autouse=True)
def _no_owner_is_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """No lease runs out because the machine is busy: `run_out` says when one does."""
    monkeypatch.setattr(leases, "EXPIRE_SECONDS", 600.0)


@given(symbol=st.text(ascii_uppercase, min_size=1, max_size=12), of=st.integers(1, 16))
def test_each_symbol_belongs_to_one_shard(symbol: str, of: int) -> None:
    assert sum(Shard(number, of).has(symbol) for number in range(of)) == 1
    assert WHOLE.has(symbol)


def test_no_two_shards_share_a_lease() -> None:
    names = [Shard(number, of).lease_name for of in range(1, 17) for number in range(of)]
    assert len(set(names)) == len(names)
    assert WHOLE.lease_name == "execution:0"


# --- engines beside each other ------------------------------------------------------------------


class TwoShards(TradingFloor):
    """A recorded market of AAPL and another instrument, and an engine for the shard of each."""

    def __init__(self) -> None:
        super().__init__(NOON)
        self.elsewhere: Instrument = make_instrument(ELSEWHERE)
        MarketClock.objects.filter(pk=1).update(mode=MarketClock.Mode.REPLAY)
        self.engines = [self.start(shard) for shard in (FIRST, SECOND)]

    def start(self, shard: Shard) -> Engine:
        lease = acquire(shard.lease_name)
        assert lease is not None
        return engine_for(lease, self.model, shard=shard)

    def show_both(self) -> None:
        """A quote of each instrument, which every engine hears."""
        ticks = (self.quote(), self.quote(symbol=ELSEWHERE))
        batch = Batch(ticks, ticks[-1].at_us, epoch=1)
        for engine in self.engines:
            engine.run_once([(TICK_TOPICS[0], batch)])


@pytest.fixture
def two(transactional_db: None) -> TwoShards:
    forget_clock()
    two = TwoShards()
    market_clock().refresh()
    two.show_both()
    return two


def test_each_engine_executes_the_orders_of_its_own_instruments(two: TwoShards) -> None:
    account = funded_account("10000")
    here, there = (
        two.buy(account, "1", limit="100"),
        two.buy(account, "2", limit="100", symbol=ELSEWHERE),
    )
    mine = two.engines[0].listing.by_symbol
    own, other = (here, there) if "AAPL" in mine else (there, here)

    two.engines[0].run_once([], missed=True)
    assert (now_of(own).status, now_of(other).status) == ("filled", "accepted")
    two.engines[1].run_once([], missed=True)

    assert now_of(other).status == "filled"
    assert Fill.objects.count() == 2
    assert_books_balance(account)


def test_news_of_another_shards_order_make_no_engine_look(two: TwoShards) -> None:
    order = two.buy(funded_account(), "1", limit="60")
    news = {"instrument_id": order.instrument_id, "order_id": order.pk, "status": "accepted"}
    asked = []
    for engine in two.engines:
        engine._poll_due = False
        engine._hear_order(news)
        asked.append(engine._poll_due or bool(engine._announced))
    assert asked == [shard.has("AAPL") for shard in (FIRST, SECOND)]


def test_an_order_expires_by_its_own_engine(two: TwoShards) -> None:
    order = two.buy(funded_account(), "1", limit="60")
    for engine in two.engines:
        engine.run_once([], missed=True)
    other, own = sorted(two.engines, key=lambda engine: "AAPL" in engine.listing.by_symbol)
    assert order.expires_at is not None
    closes_us = int(order.expires_at.timestamp()) * 1_000_000
    other._pass_time(closes_us)
    assert now_of(order).status == "new"
    own._pass_time(closes_us)
    assert now_of(order).status == "expired"


def test_what_is_held_in_another_shard_counts_at_its_price(two: TwoShards) -> None:
    for engine in two.engines:
        for instrument in (two.instrument, two.elsewhere):
            assert engine.pending.marks.get(instrument.pk) == Decimal("99.5")


# --- nobody divides otherwise -------------------------------------------------------------------


def owned(shard: Shard) -> Lease:
    lease = acquire(shard.lease_name, "there:1:1")
    assert lease is not None
    return lease


def run_out(lease: Lease) -> None:
    """As if its owner had stopped."""
    models.Lease.objects.filter(name=lease.name).update(expires_at=DatabaseTime(-0.1))


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("there", "here"), [(WHOLE, FIRST), (SECOND, WHOLE), (Shard(2, 3), SECOND)]
)
def test_another_number_of_shards_is_refused(there: Shard, here: Shard) -> None:
    refuse_other_numbers(here.of)
    former = owned(there)

    with pytest.raises(CannotShare, match=f"{there.lease_name} is owned .* than {here.of}"):
        refuse_other_numbers(here.of)
    with pytest.raises(CannotShare):
        make_sure(here, owned(here))
    former.renew()

    former.release()
    refuse_other_numbers(here.of)


@pytest.mark.django_db
def test_the_command_says_why_it_does_not_start() -> None:
    owned(SECOND)
    with pytest.raises(CommandError, match="stop those that have the old one first"):
        call_command("run_execution")


@pytest.mark.django_db
def test_an_owner_of_another_number_that_stood_still_finds_all_lost() -> None:
    former = owned(WHOLE)
    lane = seize(f"{WHOLE.lease_name}/1", former)
    run_out(former)

    make_sure(SECOND, owned(SECOND))

    for lease in (former, lane):
        with pytest.raises(LeaseLost):
            lease.renew()
    assert acquire(WHOLE.lease_name) is not None, "the number may be changed again"


@pytest.mark.django_db
def test_the_same_number_is_left_alone() -> None:
    former = owned(FIRST)
    lane = seize(f"{FIRST.lease_name}/1", former)
    run_out(former)

    make_sure(SECOND, owned(SECOND))
    former.renew()
    lane.renew()


@pytest.mark.django_db
def test_a_stepped_market_has_one_engine() -> None:
    TradingFloor()
    make_sure(WHOLE, owned(WHOLE))
    with pytest.raises(CannotShare, match="Set EXECUTION_SHARDS=1"):
        make_sure(FIRST, owned(FIRST))


# --- processes share them -----------------------------------------------------------------------


class Process:
    """The leases of an execution process, taken and let go of as it does."""

    def __init__(self, name: str, of: int) -> None:
        self.name = f"host:{name}:1"
        self.shards = [Shard(number, of) for number in range(of)]
        self.leases: dict[Shard, Lease] = {}
        self.sharing = Sharing(self.shards, self.name)

    def turn(self) -> None:
        """Look around, let go of what is asked for, or else take what is free."""
        self.sharing.look()
        for shard in self.shards:
            if self.sharing.is_to_go(shard):
                self.leases.pop(shard).release()
                self.sharing.has_gone(shard)
                return
        self.take_free()

    def take_free(self) -> None:
        for shard in self.shards:
            lease = acquire(shard.lease_name, self.name)
            if lease is not None:
                self.leases[shard] = lease


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("of", "count", "shares"),
    [(2, 2, [1, 1]), (5, 2, [2, 3]), (16, 3, [5, 5, 6]), (2, 3, [0, 1, 1])],
)
def test_processes_come_to_own_about_as_many(of: int, count: int, shares: list[int]) -> None:
    first, *others = processes = [Process(f"{n}", of) for n in range(1, count + 1)]
    first.take_free()
    assert len(first.leases) == of, "one alone has all at once"

    for _ in range(3 * of):
        for process in [*others, first]:
            process.turn()
        for process in processes:
            for lease in process.leases.values():
                lease.renew()

    rows = models.Lease.objects.filter(name__contains=f"of{of}")
    owners = Counter(rows.values_list("owner", flat=True))
    assert sorted(owners[process.name] for process in processes) == shares
    before = [dict(process.leases) for process in processes]
    for process in processes:
        process.turn()
    assert [process.leases for process in processes] == before, "and there it stays"
