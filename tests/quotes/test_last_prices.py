"""What the last price is where trades are corrected and canceled: in every place the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from django.core.cache import caches
from django.db import transaction
from hypothesis import given
from hypothesis import strategies as st

from quotes import latest
from quotes.bars import LATE_US, MINUTE_US, Aggregator
from quotes.calendar import EXCHANGE
from quotes.clock import Clock
from quotes.feeds.alpaca_wire import Revision
from quotes.feeds.tape import CORRECTED_FROM, Tape
from quotes.ingest import Ingest
from quotes.kept_trades import KeptTrades
from quotes.last_prices import LastPrices
from quotes.latest import NOTHING, Latest, rows
from quotes.latest.local import LocalStore
from quotes.models import Instrument, MarketClock
from quotes.streaming.audience import Channel
from quotes.streaming.bus import Bus, bus
from quotes.streaming.codec import JSON_HONEST, trade_id
from quotes.streaming.standings import Standing, Standings
from quotes.ticks import CANCELED, CORRECTED, Amendment, Rank, Trade
from tests.quotes.amending import cancellation, corrected, correction, told, twice_corrected
from tests.quotes.hub_readers import TICKS, Reader, Store, hub_on
from tests.quotes.memory_feed import SECOND, START_US, MemoryFeed
from tests.quotes.memory_feed import trade as printed_trade
from tests.streams import OPENING_US, batch, quote, trade
from tests.waiting import until

# --- found by whoever knows the tape --------------------------------------------------------------


class Market:
    """Trades as ingest has them: in bars, and as the last price."""

    def __init__(self) -> None:
        self.bars = Aggregator(EXCHANGE, amendable=True)
        self.prices = LastPrices(self.bars.newest_price)
        self.last: Trade | None = None
        self.ranks: list[Rank] = []

    def prints(self, *trades: Trade) -> None:
        for each in trades:
            self.bars.add(each)
            if each.sets_price:
                self.prices.hear({each.symbol: each})
                self._stand(each)

    def amend(self, *amendments: Amendment) -> None:
        self.bars.amend(amendments)
        for each in self.prices.amend(amendments):
            if each.last is not None:
                self._stand(each.last)

    def _stand(self, last: Trade) -> None:
        self.last = last
        self.ranks.append(last.rank)

    @property
    def price(self) -> int | None:
        return None if self.last is None or self.last.is_canceled else self.last.price


def priced(n: int, minutes: float = 0, **fields: Any) -> Trade:
    return trade(n=n, price=n)._replace(at_us=OPENING_US + int(minutes * MINUTE_US), **fields)


def test_a_print_in_the_middle_changes_no_last_price() -> None:
    market = Market()
    market.prints(priced(1), priced(2), priced(3))

    market.amend(cancellation(priced(1)), correction(priced(2), price=9))

    assert market.last == priced(3)


def test_cancellations_one_after_the_other_go_back_in_time() -> None:
    market = Market()
    market.prints(*(priced(n) for n in (1, 2, 3, 4)))

    market.amend(correction(priced(2), price=22))
    market.amend(cancellation(priced(4)), cancellation(priced(3)))
    assert (market.price, market.last.amended, market.last.sequence) == (22, CORRECTED, 2)

    market.prints(priced(5))
    assert market.price == 5
    market.amend(cancellation(priced(5)))
    assert market.price == 22
    assert market.ranks == sorted(set(market.ranks))


def test_a_correction_that_sets_no_price_is_a_cancellation_for_the_price() -> None:
    market = Market()
    market.prints(priced(1), priced(2))

    market.amend(correction(priced(2), sets_price=False))

    assert market.price == 1


def test_a_later_print_that_a_correction_lets_set_the_price_does() -> None:
    market = Market()
    market.prints(priced(1), priced(2, sets_price=False))

    market.amend(correction(priced(2, sets_price=False), sets_price=True, price=7))

    assert (market.price, market.last.rank) == (7, (1, 2, 1))


def test_a_quiet_symbol_falls_back_to_what_is_no_longer_kept_for_bars() -> None:
    market = Market()
    market.prints(priced(1), priced(2, 60), priced(3, 540))
    market.bars.close_until(OPENING_US + 541 * MINUTE_US)

    market.amend(cancellation(priced(3, 540)))
    assert market.price == 2

    market.bars.close_until(OPENING_US + 542 * MINUTE_US)
    market.amend(cancellation(priced(2, 60)))  # too late for any bar
    assert market.price == 1
    market.amend(cancellation(priced(1)))
    assert market.price is None


def test_a_print_that_came_too_late_for_its_minute_can_be_fallen_back_to() -> None:
    market = Market()
    market.bars.close_until(OPENING_US + 2 * LATE_US)
    market.prints(priced(1), priced(2, 30))

    market.amend(cancellation(priced(2, 30)))

    assert market.price == 1


def test_a_print_of_a_minute_that_was_let_go_for_want_of_room_can_be_fallen_back_to() -> None:
    kept = KeptTrades(most=1)
    for n, start in ((1, 0), (2, 60)):
        kept.add(start, priced(n))
    assert list(kept.let_go(0)) == [priced(1)]

    kept.add(0, priced(3))
    assert kept.newest_price("AAPL") == priced(3)


changes = st.lists(
    st.tuples(st.integers(0, 10**6), st.sampled_from(["print", "volume", "cancel", "correct"])),
    max_size=30,
)


@given(changes)
def test_the_last_price_is_that_of_the_tape_as_it_is_by_now(changes) -> None:
    """Whatever is printed, canceled and corrected, however often; and its rank always rises."""
    market, tape = Market(), {}
    for step, (draw, what) in enumerate(changes, start=1):
        if what in ("print", "volume"):
            tape[step] = priced(step, draw % 14, sets_price=what == "print")
            market.prints(tape[step])
        elif tape:
            n = sorted(tape)[draw % len(tape)]
            was = tape.pop(n)
            now = None
            if what == "correct":
                sets_price = bool(draw % 3)
                now = corrected(was, price=step * 100, sets_price=sets_price)
                tape[n] = now = now._replace(sequence=CORRECTED_FROM + step)
            market.amend(Amendment(was.symbol, 0, was, now, printed=n))
        prices = [each.price for _, each in sorted(tape.items()) if each.sets_price]
        assert market.price == (prices[-1] if prices else None)
    assert market.ranks == sorted(set(market.ranks))


def test_a_cancellation_that_is_told_again_is_none() -> None:
    tape = Tape()
    tape.print("it", priced(1))
    gone = Revision("AAPL", 0, "it", None, None, "C")

    assert len(tape.amend([gone])) == 1
    assert tape.amend([gone]) == []
    assert tape._waiting == []


# --- told to clients ------------------------------------------------------------------------------


async def test_a_corrected_last_price_is_what_the_next_one_is_told() -> None:
    async with hub_on(Store()) as hub:
        reader = Reader(hub, JSON_HONEST).want(quotes=["AAPL"], trades=["AAPL"])
        was = trade(n=7)
        bus().publish(TICKS, batch(quote(), trade(n=6), was))
        await reader.has(3)
        amendments = told(was, correction(trade(n=6), price=1), correction(was, price=494_000))
        bus().publish(TICKS, batch(number=2)._replace(amendments=tuple(amendments)))
        amended = (await reader.has(5))[3:]

        await hub.resync(reader.socket, 1)
        snapshot = (await reader.has(6))[-1]

    assert "last" not in amended[0]
    assert amended[1]["last"] == snapshot["trade"]
    assert snapshot["trade"]["i"] == trade_id(was)
    assert (snapshot["trade"]["p"], snapshot["trade"]["u"]) == (49.4, CORRECTED)
    assert snapshot["trade"]["rank"] == [1, 7, 1]


@pytest.mark.parametrize("before", [trade(n=5), None], ids=["the one before", "none"])
async def test_after_a_cancellation_the_last_price_is(before: Trade | None) -> None:
    async with hub_on(Store()) as hub:
        reader = Reader(hub, JSON_HONEST).want(quotes=["AAPL"], trades=["AAPL"])
        was = trade(n=7)
        bus().publish(TICKS, batch(quote(), trade(n=5), was))
        await reader.has(3)
        amendments = tuple(told(was, cancellation(was), before=before))
        bus().publish(TICKS, batch(number=2)._replace(amendments=amendments))
        canceled = (await reader.has(4))[-1]
        await hub.resync(reader.socket, 1)
        snapshot = (await reader.has(5))[-1]
        bus().publish(TICKS, batch(trade(n=8), number=3))
        await reader.has(6)
        await hub.resync(reader.socket, 2)
        after = (await reader.has(7))[-1]

    assert canceled["last"] == snapshot["trade"]
    assert snapshot["trade"]["rank"] == [1, 7, 1]
    assert snapshot["trades"] == [1, 7]
    price = snapshot["trade"]
    if before is None:
        assert (price["i"], price["u"]) == (trade_id(was), CANCELED)
    else:
        assert (price["i"], price["seq"]) == (trade_id(before), 5)
        assert "u" not in price
    assert after["trade"]["seq"] == 8
    assert "rank" not in after["trade"]


async def test_a_canceled_print_that_arrives_late_is_no_price() -> None:
    async with hub_on(Store()) as hub:
        reader = Reader(hub, JSON_HONEST).want(quotes=["AAPL"], trades=["AAPL"])
        was, before = trade(n=7), trade(n=6)
        bus().publish(TICKS, batch(quote(), before, number=1))
        await reader.has(2)
        amendments = tuple(told(was, cancellation(was), before=before))
        bus().publish(TICKS, batch(number=3)._replace(amendments=amendments))
        await until(lambda: [each for each in reader.heard if each["T"] == "x"])
        bus().publish(TICKS, batch(was, number=2))
        await until(lambda: [each for each in reader.heard if each.get("seq") == 7])
        await hub.resync(reader.socket, 1)
        await until(lambda: reader.heard[-1]["T"] == "snapshot")

    assert reader.heard[-1]["trade"]["seq"] == 6


def restated(n: int = 5, stands: Rank = (1, 7, 1)) -> Trade:
    """A price that took the place of print 7."""
    return trade(n=n)._replace(stands=stands)


def price_of(standings: Standings, stored: Trade | None = None) -> Trade | None:
    return standings.standing(["AAPL"], {"AAPL": Standing(None, stored)})["AAPL"].trade


def test_of_two_last_prices_the_one_of_the_higher_rank_stands() -> None:
    standings = Standings()
    assert list(standings.newer([trade(n=5), trade(n=7)])) == [trade(n=5), trade(n=7)]
    assert price_of(standings, restated()) == restated()
    standings.learn([restated()])
    assert price_of(standings) == price_of(standings, trade(n=7)) == restated()

    standings.learn([trade(n=8)])  # the store is ahead of what is heard
    standings.amend(told(trade(n=7), cancellation(trade(n=7)), before=trade(n=5))[0])
    assert price_of(standings) == trade(n=8)


def test_a_price_from_the_store_shows_that_prints_were_lost_up_to_its_rank() -> None:
    standings = Standings()
    assert list(standings.newer([trade(n=5)]))
    standings.take_changed()

    standings.learn([restated()])

    assert standings.take_changed()[Channel.TRADES] == {"AAPL": (1, 7)}
    assert standings.standing(["AAPL"], {})["AAPL"].trades == (1, 7)
    # Those that were not lost but late are news still, and take nothing back of what was told.
    assert list(standings.newer([trade(n=6)])) == [trade(n=6)]
    assert standings.take_changed()[Channel.TRADES] == {"AAPL": (1, 7)}
    assert standings.standing(["AAPL"], {})["AAPL"].trades == (1, 7)
    assert list(standings.newer([trade(n=6), trade(n=7), trade(n=8)])) == [trade(n=7), trade(n=8)]
    assert standings.standing(["AAPL"], {})["AAPL"].trades == (1, 8)


def told_prices(reader: Reader) -> list[float]:
    return [each["trade"]["p"] for each in reader.heard if each["T"] == "snapshot"]


async def test_a_correction_that_was_lost_is_in_every_later_snapshot() -> None:
    was, market = trade(n=7), Store()
    async with hub_on(market) as hub:
        reader = Reader(hub, JSON_HONEST).want(quotes=["AAPL"], trades=["AAPL"])
        bus().publish(TICKS, batch(quote(), was))
        await reader.has(2)
        [amendment] = told(was, correction(was, price=494_000))
        market.holds = {"AAPL": Latest(quote(), amendment.last)}

        bus().publish(TICKS, batch(number=3))  # the second said it
        await reader.has(3)
        await hub.resync(reader.socket, 1)
        await hub.resync(reader.socket, 2)
        await reader.has(5)

    assert told_prices(reader) == [49.4] * 3


async def test_a_store_that_lags_takes_no_correction_back() -> None:
    was, market = trade(n=7), Store()
    async with hub_on(market) as hub:
        reader = Reader(hub, JSON_HONEST).want(quotes=["AAPL"], trades=["AAPL"])
        amendments = tuple(told(was, correction(was, price=494_000)))
        bus().publish(TICKS, batch(quote(), was)._replace(amendments=amendments))
        await reader.has(3)
        market.holds = {"AAPL": Latest(quote(), was)}

        bus().publish(TICKS, batch(number=3))
        await reader.has(4)

    assert told_prices(reader) == [49.4]


async def test_the_last_of_several_corrections_is_what_the_next_one_is_told() -> None:
    was = trade(n=7)
    async with hub_on(Store()) as hub:
        reader = Reader(hub, JSON_HONEST).want(quotes=["AAPL"], trades=["AAPL"])
        for number, amendment in enumerate(told(was, *twice_corrected(was)), start=1):
            of_one = batch(quote(), was, number=number)._replace(amendments=(amendment,))
            bus().publish(TICKS, of_one)
        await reader.has(4)
        await hub.resync(reader.socket, 1)
        await reader.has(5)

    assert told_prices(reader) == [49.2]


# --- kept -----------------------------------------------------------------------------------------


class AmendingFeed(MemoryFeed):
    """A feed that says something of its trades in the turn after it printed them."""

    amends_trades = True

    def __init__(self, ticks: list[Trade], amend: Callable[[Trade], list[Amendment]]) -> None:
        super().__init__(ticks)
        self._amend = amend
        self._turns = 0

    def take_amendments(self) -> list[Amendment]:
        self._turns += 1
        printed = printed_trade(1)._replace(sequence=len(self._ticks), epoch=self.epoch)
        return self._amend(printed) if self._turns == 2 else []


async def news_after(
    amend: Callable[[Trade], list[Amendment]], *, prints: int = 2, stored: Latest = NOTHING
) -> Trade | None:
    """The news of the last price that ingest has where the last of some trades is amended."""
    feed = AmendingFeed([printed_trade(1, 1_000_000 + n) for n in range(1, prints + 1)], amend)
    row = MarketClock(
        mode=MarketClock.Mode.STEPPED, source=feed.source, opened_us=START_US,
        watermark_us=START_US, reserved_us=START_US, updated_at=datetime.now(UTC),
    )  # fmt: skip
    clock = Clock()
    clock.follow(row)
    ingest = Ingest(feed, row, clock, Bus(), epoch=5)
    ingest.resume_prices([stored])
    for seconds in (1, 2):
        row.advance_to_us = row.reserved_us = START_US + seconds * SECOND
        ingest.obey(row)
        await ingest.run_once()
        told = ingest.take_heard().trades
    return told.get("AAPL")


@pytest.fixture(params=["in memory", "Redis is away"])
def _last_prices(request: pytest.FixtureRequest) -> Iterator[None]:
    store: Any = LocalStore()
    if request.param != "in memory":
        pytest.importorskip("redis")
        from quotes.latest.redis import RedisStore

        store = RedisStore("redis://127.0.0.1:1/0")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(latest, "_store", store)
        yield


@pytest.mark.usefixtures("_last_prices")
@pytest.mark.parametrize(
    ("amend", "price"),
    [
        (lambda was: [correction(was, price=494_000)], 494_000),
        (twice_corrected, 492_000),
        (
            lambda was: [
                correction(was, price=494_000),
                correction(was._replace(sequence=1), price=1),
            ],
            494_000,
        ),
    ],
    ids=["once", "twice", "and then an older one"],
)
async def test_the_table_is_told_what_the_last_price_is_now(
    amend: Callable[[Trade], list[Amendment]], price: int
) -> None:
    last = await news_after(amend)

    assert last is not None
    assert (last.sequence, last.price, last.amended) == (2, price, CORRECTED)
    assert last.received_us > 0


@pytest.mark.usefixtures("_last_prices")
async def test_where_the_last_price_is_canceled_the_one_before_is_it() -> None:
    last = await news_after(lambda was: [cancellation(was)])

    assert last is not None
    assert (last.sequence, last.price, last.amended) == (1, 1_000_001, "")
    assert last.rank == (5, 2, 1)
    assert last.received_us > 0


@pytest.mark.usefixtures("_last_prices")
async def test_the_one_before_may_be_from_before_the_feed_began() -> None:
    stored = printed_trade(0, 999_999)._replace(sequence=9, epoch=4, stands=(4, 12, 3))

    last = await news_after(lambda was: [cancellation(was)], prints=1, stored=Latest(None, stored))

    assert last is not None
    assert (last.epoch, last.sequence, last.price) == (4, 9, 999_999)
    assert last.rank == (5, 1, 1)


@pytest.mark.usefixtures("_last_prices")
async def test_where_no_earlier_price_is_known_there_is_none() -> None:
    last = await news_after(lambda was: [cancellation(was)], prints=1)

    assert last is not None
    assert (last.sequence, last.is_canceled, last.rank) == (1, True, (5, 1, 1))


@pytest.fixture
def _in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latest, "_store", LocalStore())


@pytest.mark.usefixtures("_in_memory")
def test_a_price_that_was_canceled_is_none_but_for_those_who_have_to_know() -> None:
    was = trade(n=7)
    latest.put_many([quote(), trade(n=6), was])
    [amendment] = told(was, cancellation(was))
    latest.put_many([amendment.last])
    latest.put_many([was])  # again, and late

    assert latest.store().get_many(["AAPL"])["AAPL"].trade == amendment.last
    caches["quotes"].forget(latest.NAME)
    assert latest.get("AAPL") == Latest(quote(), None)
    assert latest.get_many(["AAPL"], with_canceled=True)["AAPL"].trade.is_canceled


@pytest.mark.django_db
def test_the_table_gives_back_a_price_that_was_said_anew() -> None:
    rows.forget_instruments()
    Instrument.objects.create(symbol="AAPL")
    was, before = trade(n=7), trade(n=6)._replace(conditions=())
    for known in (before, None):
        [amendment] = told(was._replace(conditions=()), cancellation(was), before=known)
        with transaction.atomic():
            rows.save({"AAPL": Latest(None, amendment.last)})
        assert rows.load(["AAPL"]) == {"AAPL": Latest(None, amendment.last)}
    with transaction.atomic():
        rows.save({"AAPL": Latest(None, before)})
    assert rows.load(["AAPL"]) == {"AAPL": Latest(None, before)}
