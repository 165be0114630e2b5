"""The feed that another server feeds: what it reads, what it notices, and when it is silent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quotes.feeds.alpaca import AlpacaFeed
from quotes.feeds.alpaca_wire import read_quote, read_trade
from quotes.feeds.base import FeedError, Tick
from quotes.feeds.intake import MISSED_AMENDMENTS, Intake, Lost
from quotes.feeds.tape import Tape
from quotes.feeds.upstream import LONGEST_WAIT_SECONDS, Upstream, wait_seconds
from quotes.streaming.codec import (
    MSGPACK,
    MSGPACK_HONEST,
    msgpack_timestamp,
    unframed,
)
from quotes.streaming.limits import SYMBOLS_MAX
from quotes.ticks import CANCELED, CORRECTED, MICROSECONDS, Amendment, Quote, Trade
from tests.quotes.upstream import ScriptedUpstream, frames_of, upstream
from tests.streams import OPENING_US, quote, trade
from tests.waiting import eventually

NOW_US = OPENING_US

prices = st.integers(1, 10**9)
sizes = st.integers(0, 10**7)
instants = st.integers(0, 4 * 10**9 * MICROSECONDS)
letters = st.lists(st.sampled_from("@FITO6Q"), unique=True).map(tuple)


def said(frame: bytes) -> dict[str, Any]:
    [(_, payload)] = unframed(frame)
    [message] = msgpack.unpackb(payload, timestamp=0)
    return message


def snapshot_of(quote: Quote | None = None, trade: Trade | None = None) -> dict[str, Any]:
    return said(MSGPACK_HONEST.snapshot("IBM", quote, trade, None, halted=False))


@given(at_us=instants, bid=prices, ask=prices, size=sizes, fine=st.sampled_from(["tick", "minute"]))
def test_a_quote_arrives_as_it_was_sent(at_us: int, bid: int, ask: int, size: int, fine: str):
    sent = Quote("IBM", at_us, bid, size, ask, 1, 7, 3, 0, "N", "Q", fine)
    for message in (said(MSGPACK_HONEST.quote(sent)), snapshot_of(quote=sent)["quote"]):
        assert read_quote("IBM", message) == sent._replace(sequence=0, epoch=0)


@given(
    at_us=instants,
    price=prices,
    size=sizes,
    conditions=letters,
    flags=st.tuples(st.booleans(), st.booleans()),
    auction=st.sampled_from(["", "open", "close"]),
)
def test_a_trade_arrives_as_it_was_sent(at_us, price, size, conditions, flags, auction):
    sent = Trade("IBM", at_us, price, size, 7, 3, 0, "N", conditions, *flags, auction)
    for message in (said(MSGPACK_HONEST.trade(sent)), snapshot_of(trade=sent)["trade"]):
        assert read_trade("IBM", message) == sent._replace(sequence=0, epoch=0)


@pytest.mark.parametrize(
    ("conditions", "exchange", "expected"),
    [
        (("@",), "V", (True, True, "")),
        (("@", "I"), "V", (False, True, "")),
        (("@", "T"), "V", (True, True, "")),
        (("M",), "N", (False, False, "close")),
        (("O",), "N", (True, True, "open")),
        (("6",), "N", (True, True, "close")),
        (("6",), "Q", (True, True, "")),
    ],
)
def test_the_services_letters_say_what_a_trade_counts_for(conditions, exchange, expected):
    sent = trade("IBM", conditions=conditions, exchange=exchange)
    arrived = read_trade("IBM", said(MSGPACK.trade(sent)))
    assert (arrived.sets_price, arrived.counts_volume, arrived.auction) == expected


class Hearing:
    """An intake of an honest upstream, and a clock turned by hand."""

    def __init__(self, *, honest: bool = True, known: dict[str, int] | None = None) -> None:
        self.now = 100.0
        self.codec = MSGPACK_HONEST if honest else MSGPACK
        self.intake = Intake(NOW_US, known or {}, honest=honest, monotonic=lambda: self.now)
        self.connect()

    def connect(self) -> None:
        self.intake.begin(NOW_US)
        self.intake.subscribed()
        self.frames = 0

    def hear(self, *frames: bytes) -> None:
        for frame in frames:
            self.intake.hear([said(frame)])
            self.frames += 1

    def trades(self, *numbers: int, epoch: int = 1) -> None:
        self.hear(*(self.codec.trade(trade(n=n, epoch=epoch)) for n in numbers))

    def snapshot(self, quote: Quote | None, trade: Trade | None, trades: Any) -> None:
        self.hear(MSGPACK_HONEST.snapshot("AAPL", quote, trade, trades, halted=None))

    def beat(self, **news: Any) -> None:
        message = {"T": "heartbeat", "t": None, "quiet_ms": 10, "sent": self.frames, "quotes": {}}
        self.frames += 1
        self.intake.hear([message | news])

    def missed(self) -> list[int]:
        """How many trades are missing before each that waits."""
        return [tick.sequence for tick, _ in self.intake.take(2**62, 1_000)]


def test_a_missing_trade_leaves_its_number_out():
    hearing = Hearing()
    hearing.trades(5, 6, 8, 8, 7, 9)
    assert hearing.missed() == [0, 0, 1, 0]


def test_what_a_break_swallowed_is_counted_where_the_numbers_go_on():
    hearing = Hearing()
    hearing.trades(5)
    hearing.intake.end()
    hearing.connect()
    hearing.snapshot(None, trade(n=8), [1, 8])
    hearing.trades(9)
    assert hearing.missed() == [0, 2, 0]


def test_what_a_break_may_have_swallowed_of_an_older_epoch_is_a_gap():
    hearing = Hearing()
    hearing.trades(5)
    hearing.connect()
    later = (trade(n=10 + n, epoch=2)._replace(sequence=n) for n in (1, 2))
    hearing.hear(*map(MSGPACK_HONEST.trade, later))
    assert hearing.missed() == [0, 1, 0]


def test_after_a_break_of_a_service_that_numbers_nothing_there_is_a_gap():
    hearing = Hearing(honest=False)
    hearing.trades(5, 6)
    hearing.connect()
    hearing.trades(7, 8)
    assert hearing.missed() == [0, 0, 1, 0]


def test_a_trade_that_was_heard_before_the_start_is_not_told_again():
    last = trade(n=8)
    hearing = Hearing(known={"AAPL": last.at_us})
    hearing.snapshot(quote(n=3), last, [1, 9])
    hearing.trades(10)
    [(first, _), (second, _)] = hearing.intake.take(2**62, 10)
    assert isinstance(first, Quote)
    assert (second.at_us, second.sequence) == (trade(n=10).at_us, 0)


def test_a_snapshot_of_what_is_known_changes_nothing():
    hearing = Hearing()
    hearing.hear(MSGPACK_HONEST.quote(quote(n=3)), MSGPACK_HONEST.trade(trade(n=4)))
    hearing.snapshot(quote(n=2), trade(n=4), [1, 4])
    assert len(hearing.missed()) == 2


def test_a_correction_that_a_break_swallowed_is_in_the_snapshot():
    was, later = trade(n=4), trade(n=5, sets_price=False)
    hearing = Hearing()
    hearing.hear(MSGPACK_HONEST.trade(was), MSGPACK_HONEST.trade(later))
    hearing.intake.end()
    hearing.connect()
    hearing.snapshot(None, was._replace(price=494_000, amended=CORRECTED), [1, 5])

    tape = Tape()
    for sequence, (tick, name) in enumerate(hearing.intake.take(2**62, 10), start=1):
        tape.print(name, tick._replace(sequence=sequence))
    [amendment] = tape.amend(hearing.intake.take_revisions())
    assert (amendment.original.price, amendment.corrected.price) == (was.price, 494_000)
    assert amendment.number == (0, 1)

    hearing.snapshot(None, was._replace(price=494_000, amended=CORRECTED), [1, 5])
    assert tape.amend(hearing.intake.take_revisions()) == [], "it is known by now"
    assert tape.amend([]) == []


def test_a_last_price_that_is_canceled_is_no_trade_and_cancels_the_one_that_was_heard():
    was = trade(n=4)
    gone = was._replace(amended=CANCELED, stands=(1, 4, 1))
    hearing = Hearing()
    hearing.snapshot(None, gone, [1, 4])
    assert hearing.intake.take(2**62, 10) == []

    hearing = Hearing()
    hearing.hear(MSGPACK_HONEST.trade(was))
    [(tick, name)] = hearing.intake.take(2**62, 10)
    tape = Tape()
    tape.print(name, tick._replace(sequence=1))
    for told in (1, 0):
        hearing.snapshot(None, gone, [1, 4])
        amendments = tape.amend(hearing.intake.take_revisions())
        assert [each.corrected for each in amendments] == [None] * told


def test_cancellations_that_a_break_swallowed_show_by_the_price_before():
    trades = [trade(n=n) for n in (3, 4, 5, 6)]
    hearing, tape = Hearing(), Tape()
    hearing.hear(*map(MSGPACK_HONEST.trade, trades))
    for sequence, (tick, name) in enumerate(hearing.intake.take(2**62, 10), start=1):
        tape.print(name, tick._replace(sequence=sequence))
    hearing.intake.end()
    hearing.connect()

    for told in ([2, 3], []):  # the sixth was printed after that
        hearing.snapshot(None, trades[0]._replace(stands=(1, 5, 2)), [1, 6])
        amendments = tape.amend(hearing.intake.take_revisions())
        assert [each.number[1] for each in amendments if each.corrected is None] == told

    assert hearing.intake.take(2**62, 10) == []


def test_corrections_that_did_not_arrive_are_counted():
    hearing, before = Hearing(), MISSED_AMENDMENTS._value.get()

    def said_of_one(number: int) -> bytes:
        return MSGPACK_HONEST.amendment(Amendment("AAPL", NOW_US, trade()), trade(n=number))

    hearing.snapshot(None, None, None)
    hearing.hear(said_of_one(1), said_of_one(3), said_of_one(4))
    hearing.hear(MSGPACK_HONEST.snapshot("AAPL", None, None, None, amendments=(1, 6), halted=None))
    assert MISSED_AMENDMENTS._value.get() == before + 1 + 2

    hearing.connect()  # to a process that has counted others
    hearing.hear(MSGPACK_HONEST.snapshot("AAPL", None, None, None, amendments=(1, 9), halted=None))
    hearing.hear(said_of_one(10))
    assert MISSED_AMENDMENTS._value.get() == before + 3


def test_a_heartbeat_finds_what_is_missing():
    hearing = Hearing()
    hearing.hear(MSGPACK_HONEST.quote(quote(n=3)))
    hearing.beat(quotes={"AAPL": [1, 3]})
    with pytest.raises(Lost, match="newest quote of AAPL"):
        hearing.beat(quotes={"AAPL": [1, 4]})
    with pytest.raises(Lost, match="9 messages were sent"):
        hearing.beat(sent=9)


def test_a_chain_is_silent_when_its_upstream_is_away_or_itself_silent():
    hearing = Hearing()
    assert not hearing.intake.is_live(), "nothing was heard yet"
    hearing.beat()
    assert hearing.intake.is_live()
    hearing.now += 4
    assert hearing.intake.is_live()
    hearing.beat(quiet_ms=5_500)
    hearing.now += 1
    assert not hearing.intake.is_live(), "its feed says nothing, and that is what its heart says"
    hearing.trades(5)
    assert hearing.intake.is_live()
    hearing.beat(current=False)
    assert not hearing.intake.is_live(), "it may itself have missed something"
    hearing.beat()
    assert hearing.intake.is_live()
    hearing.intake.end()
    assert not hearing.intake.is_live()


def test_how_far_the_upstream_has_come_is_how_far_the_market_has():
    hearing = Hearing()
    assert hearing.intake.next_us() == NOW_US
    hearing.beat(t=msgpack_timestamp(NOW_US + 700))
    assert hearing.intake.next_us() == NOW_US + 701
    hearing.trades(900)
    assert hearing.intake.next_us() == NOW_US + 900
    hearing.missed()
    assert hearing.intake.next_us() == NOW_US + 900, "that instant may go on in the next frame"


def test_waits_are_spread_over_all_of_a_growing_bound():
    widest = [wait_seconds(attempt, lambda least, most: most) for attempt in range(12)]
    assert widest[:4] == [0.5, 1.0, 2.0, 4.0]
    assert widest[-1] == LONGEST_WAIT_SECONDS
    assert wait_seconds(5, lambda least, most: least) == 0


@pytest.fixture
def fed() -> Iterator[Callable[[ScriptedUpstream], AlpacaFeed]]:
    feeds: list[AlpacaFeed] = []

    def open_feed(playing: ScriptedUpstream) -> AlpacaFeed:
        feeds.append(AlpacaFeed(Upstream(playing.url, "KEY", "secret"), ["AAPL"]))
        return feeds[-1]

    yield open_feed
    for feed in feeds:
        feed.close()


def test_a_connection_that_breaks_comes_back_and_its_gap_is_shown(fed: Any):
    def script(attempt: int) -> list[bytes | None]:
        numbers = (1, 2) if attempt == 1 else (5, 6)
        return [*frames_of(trade(n=n) for n in numbers), *([None] if attempt == 1 else [])]

    with upstream(script) as playing:
        feed = fed(playing)
        ticks: list[Tick] = []
        eventually(lambda: ticks.extend(feed.read(2**62)) or len(ticks) == 4)
        feed.close()

    assert [tick.sequence for tick in ticks] == [1, 2, 5, 6]
    assert playing.heard[0] == {"action": "auth", "key": "KEY", "secret": "secret"}
    assert playing.heard[1]["trades"] == playing.heard[1]["quotes"] == ["AAPL"]


def test_a_connection_that_lost_a_message_is_made_anew(fed: Any):
    beat = {"T": "heartbeat", "t": None, "quiet_ms": 1, "sent": 99, "quotes": {}}
    with upstream(lambda attempt: [msgpack.packb([beat])]) as playing:
        feed = fed(playing)
        feed.read(0)
        eventually(lambda: playing.attempts >= 2)
        assert not feed.is_live()
        feed.close()


def test_more_symbols_than_are_taken_by_name_are_fed_by_everything():
    """Of which this market takes its own."""
    symbols = [f"S{number:04}" for number in range(SYMBOLS_MAX // 3 + 1)]
    strange = quote("STRANGE", n=1)
    beat = {"T": "heartbeat", "t": None, "quiet_ms": 1, "quotes": {"STRANGE": [1, 2]}}

    def script(attempt: int) -> list[bytes]:
        said = frames_of([strange, trade("S0007", n=1)])
        after_three_answers = {**beat, "sent": 3 + len(said)}
        return [*said, msgpack.packb([after_three_answers]), *frames_of([trade("S0007", n=2)])]

    with upstream(script) as playing:
        feed = AlpacaFeed(Upstream(playing.url, "KEY", "secret"), symbols)
        ticks: list[Tick] = []
        eventually(lambda: ticks.extend(feed.read(2**62)) or len(ticks) == 2)
        feed.close()

    assert playing.heard[1]["quotes"] == playing.heard[1]["trades"] == ["*"]
    assert [(tick.symbol, tick.sequence) for tick in ticks] == [("S0007", 1), ("S0007", 2)]
    assert playing.attempts == 1


def test_only_a_market_on_wall_time_can_feed_another():
    with upstream(lambda attempt: []) as playing:
        playing.market = {"mode": "replay", "source": "lean-2013-10-07"}
        with pytest.raises(FeedError, match="plays a replay market"):
            AlpacaFeed(Upstream(playing.url, "KEY", "secret"), ["AAPL"])
    with pytest.raises(FeedError, match="does not answer"):
        AlpacaFeed(Upstream(playing.url, "KEY", "secret"), ["AAPL"])


def test_a_chained_simulation_trades_around_the_clock():
    with upstream(lambda attempt: []) as playing:
        feed = AlpacaFeed(Upstream(playing.url, "KEY", "secret"), ["AAPL"])
    assert feed.source == f"simulated-7 127.0.0.1:{playing.port}"
    assert feed.mode == "simulated"
