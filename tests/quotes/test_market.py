"""Opening a market and moving its time, as far as the clock's row goes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from events import commands
from events.errors import Invalid
from events.models import Event
from quotes import halts, market
from quotes.clock import market_clock
from quotes.feeds.base import InstrumentSpec
from quotes.market import AnotherMarket, NoMarket, NotSettled, WrongMode
from quotes.models import Instrument, MarketClock
from quotes.streaming.bus import CONTROL, WhenFull, bus
from quotes.ticks import to_micros

OPENED = datetime(2013, 10, 7, 8, tzinfo=UTC)
OPENED_US = to_micros(OPENED)
LATER = OPENED + timedelta(minutes=5)
LATER_US = to_micros(LATER)

pytestmark = pytest.mark.django_db


def open_market(mode: str = "replay", **fields: Any) -> MarketClock:
    fields = {"source": "lean-2013-10-07", "start_us": OPENED_US} | fields
    return market.open_market(mode=mode, **fields)


def kinds() -> list[str]:
    return list(Event.objects.order_by("id").values_list("kind", flat=True))


def test_new_market_stands_where_it_begins() -> None:
    open_market(speed=60.0)

    row = MarketClock.objects.get()
    assert (row.mode, row.speed, row.source) == ("replay", 60.0, "lean-2013-10-07")
    instants = (row.opened_us, row.watermark_us, row.reserved_us, row.advance_to_us, row.settled_us)
    assert instants == (OPENED_US,) * 5
    assert kinds() == ["quotes.market.opened"]


def test_opening_again_goes_on() -> None:
    open_market()
    MarketClock.objects.update(watermark_us=OPENED_US + 9, paused=True)

    row = open_market(speed=10.0, start_us=OPENED_US + 77)

    assert (row.watermark_us, row.opened_us, row.speed) == (OPENED_US + 9, OPENED_US, 10.0)
    assert MarketClock.objects.get().paused
    assert kinds() == ["quotes.market.opened"]


def test_another_recording_needs_another_database() -> None:
    open_market()
    with pytest.raises(AnotherMarket, match=r"lean-2013-10-07.*simulated-1.*OPENBELL_HOME"):
        open_market("simulated", source="simulated-1")
    assert MarketClock.objects.get().source == "lean-2013-10-07"


def test_opening_adds_the_instruments_that_are_missing() -> None:
    Instrument.objects.create(symbol="AIG", name="Ours", tradable=False)
    specs = [InstrumentSpec("AIG", "American International Group", "NYSE"), InstrumentSpec("IBM")]

    open_market(instruments=specs)

    assert list(Instrument.objects.values_list("symbol", "name", "tradable")) == [
        ("AIG", "Ours", False),
        ("IBM", "", True),
    ]


def test_clock_follows_once_committed(
    django_capture_on_commit_callbacks: Callable[..., Any],
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        open_market()
    assert market_clock().now() == OPENED
    with django_capture_on_commit_callbacks(execute=True):
        market.pause(actor="operator:1")
    assert market_clock().paused


def test_replay_is_paused_resumed_and_sped_up() -> None:
    open_market()
    assert market.pause(actor="operator:1").paused
    assert not market.resume(actor="operator:1").paused
    assert market.set_speed(speed=0.1, actor="operator:1").speed == 0.1
    assert MarketClock.objects.get().speed == 0.1
    assert kinds()[1:] == [f"quotes.market.{what}" for what in ("paused", "resumed", "speed_set")]
    assert Event.objects.filter(actor="operator:1").count() == 3


def test_jump_is_a_place_to_play_up_to() -> None:
    open_market()
    assert market.jump(to=LATER, actor="operator:1").advance_to_us == LATER_US
    assert MarketClock.objects.get().watermark_us == OPENED_US


def test_step_is_asked_for_and_reserved_by_the_feed_that_plays_it() -> None:
    open_market("stepped")
    row = market.begin_advance(to=LATER, actor="operator:1")
    assert (row.advance_to_us, row.reserved_us, row.watermark_us) == (
        LATER_US,
        OPENED_US,
        OPENED_US,
    )


@pytest.mark.parametrize("speed", [0.0, 0.09, 1000.1, float("nan"), float("inf"), -1.0])
def test_speed_beyond_its_bounds_is_refused(speed: float) -> None:
    open_market()
    with pytest.raises(Invalid):
        market.set_speed(speed=speed, actor="operator:1")
    assert MarketClock.objects.get().speed == 1.0


@pytest.mark.parametrize("to", [OPENED, OPENED - timedelta(days=1), OPENED + timedelta(days=367)])
def test_market_time_only_moves_forward_and_not_for_ever(to: datetime) -> None:
    open_market("stepped")
    with pytest.raises(Invalid, match="later than the market time"):
        market.advance(to=to, actor="operator:1")
    assert MarketClock.objects.get().advance_to_us == OPENED_US


@pytest.mark.parametrize("mode", ["live", "simulated", "stepped"])
def test_only_a_replay_has_a_pace(mode: str) -> None:
    open_market(mode)
    for move in (
        lambda: market.pause(actor="operator:1"),
        lambda: market.resume(actor="operator:1"),
        lambda: market.set_speed(speed=2.0, actor="operator:1"),
        lambda: market.jump(to=LATER, actor="operator:1"),
    ):
        with pytest.raises(WrongMode):
            move()
    assert kinds() == ["quotes.market.opened"]


@pytest.mark.parametrize("mode", ["live", "simulated", "replay"])
def test_only_a_stepped_market_advances(mode: str) -> None:
    open_market(mode)
    with pytest.raises(WrongMode, match="stepped"):
        market.advance(to=LATER, actor="operator:1")


def test_without_a_market_nothing_moves() -> None:
    with pytest.raises(NoMarket):
        market.pause(actor="operator:1")


def test_advance_gives_up_in_time_and_says_where_it_is() -> None:
    open_market("stepped")
    with pytest.raises(NotSettled) as raised:
        market.advance(to=LATER, actor="operator:1", timeout_seconds=0.1)
    assert raised.value.extras == {"to": LATER.isoformat(), "settled": OPENED.isoformat()}
    assert MarketClock.objects.get().advance_to_us == LATER_US, "it goes on"


@pytest.mark.django_db(transaction=True)
def test_advance_returns_once_the_engine_has_settled() -> None:
    open_market("stepped")
    seen: list[datetime] = []
    middle = OPENED + timedelta(minutes=2)

    def settle() -> None:
        MarketClock.objects.update(watermark_us=to_micros(middle))
        MarketClock.objects.update(watermark_us=LATER_US, settled_us=LATER_US)
        connection.close()

    threading.Timer(0.2, settle).start()
    settled = market.advance(
        to=LATER, actor="operator:1", timeout_seconds=10, on_progress=seen.append
    )

    assert settled == LATER
    assert set(seen) <= {OPENED, middle, LATER}
    assert market_clock().now() == LATER


def test_command_explains_what_it_cannot_do() -> None:
    with pytest.raises(CommandError, match="no market is open"):
        call_command("advance_market", "--to", "2013-10-07T09:35")
    open_market()
    with pytest.raises(CommandError, match="only a stepped one"):
        call_command("advance_market", "--to", "2013-10-07T09:35")
    with pytest.raises(CommandError, match="“soon” is no date and time"):
        call_command("advance_market", "--to", "soon")


def test_command_takes_new_york_time(capsys: pytest.CaptureFixture[str]) -> None:
    open_market("stepped")
    with pytest.raises(CommandError, match="not settled"):
        call_command("advance_market", "--to", "2013-10-07T09:35", "--timeout", "0.05")
    asked = MarketClock.objects.get().advance_to_us
    assert asked == to_micros(datetime(2013, 10, 7, 13, 35, tzinfo=UTC))
    assert Event.objects.get(kind__endswith=".advanced").actor == commands.operator()


async def heard_by(subscription: Any) -> list[Any]:
    return [message for _, message in await subscription.get_many(5.0)]


@pytest.mark.django_db(transaction=True)
async def test_halt_and_resume_are_recorded_and_told() -> None:
    from asgiref.sync import sync_to_async

    control = bus().subscribe([CONTROL], limit=10, when_full=WhenFull.DROP_OLDEST)
    await control.ready(5.0)
    control.missed = False

    def halt_and_resume() -> Instrument:
        instrument = Instrument.objects.create(symbol="AIG")
        halted = halts.halt(instrument, reason="news pending", actor="operator:1")
        assert (halted.halted, halted.halt_reason) == (True, "news pending")
        halts.halt(instrument, reason="news pending", actor="operator:1")
        resumed = halts.resume(instrument, actor="operator:2")
        assert (resumed.halted, resumed.halt_reason) == (False, "")
        halts.resume(instrument, actor="operator:2")
        return instrument

    instrument = await sync_to_async(halt_and_resume)()
    messages = await heard_by(control)
    while len(messages) < 2:
        messages += await heard_by(control)

    told = {"instrument_id": instrument.pk, "symbol": "AIG"}
    assert messages == [
        {"kind": "halt", "reason": "news pending"} | told,
        {"kind": "resume"} | told,
    ]
    events = await sync_to_async(lambda: list(Event.objects.order_by("id")))()
    assert [(event.kind, event.actor) for event in events] == [
        ("quotes.instrument.halted", "operator:1"),
        ("quotes.instrument.resumed", "operator:2"),
    ]


@pytest.mark.django_db(transaction=True)
def test_halts_of_the_data_s_source_are_followed_and_an_operator_s_stay() -> None:
    for symbol in ("AIG", "BAC", "IBM"):
        Instrument.objects.create(symbol=symbol)
    halts.halt(Instrument.objects.get(symbol="IBM"), reason="ours", actor="operator:1")

    halts.follow({"AIG": (True, "news"), "BAC": (False, ""), "IBM": (True, "")})
    halted = dict(Instrument.objects.filter(halted=True).values_list("symbol", "halt_reason"))
    assert halted == {"AIG": "halted by the market data's source: news", "IBM": "ours"}
    assert halts.halted_by_source() == ["AIG"]

    halts.follow({"AIG": (False, ""), "IBM": (False, ""), "GONE": (True, "")})
    assert list(Instrument.objects.filter(halted=True).values_list("symbol", flat=True)) == ["IBM"]
