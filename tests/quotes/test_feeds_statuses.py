"""What an upstream's status messages halt and resume, and what it may not have got to say."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest

from quotes.feeds.intake import Intake
from quotes.streaming.codec import MSGPACK, MSGPACK_HONEST, Status, msgpack_timestamp, unframed
from quotes.ticks import MICROSECONDS
from tests.quotes.upstream import frames_of
from tests.streams import OPENING_US, trade

Halts = dict[str, tuple[bool, str]]
AGAIN_US = OPENING_US + 600 * MICROSECONDS  # when the connection after the break began


def status(code: str, symbol: str = "AAPL", **more: str) -> dict[str, Any]:
    """A status message as Alpaca's service says it."""
    said = {"T": "s", "S": symbol, "sc": code, "sm": "status", "rc": "", "rm": "", "z": "A"}
    return said | {"t": msgpack_timestamp(OPENING_US)} | more


def intake(*, honest: bool = False, halted: tuple[str, ...] = ()) -> Intake:
    hearing = Intake(OPENING_US, {}, honest=honest, halted=halted)
    hearing.begin(OPENING_US)
    return hearing


def trades(hearing: Intake, *at_us: int, **more: Any) -> None:
    for n, instant in enumerate(at_us):
        [payload] = frames_of([trade(n=n)._replace(at_us=instant, **more)])
        hearing.hear(msgpack.unpackb(payload, timestamp=0))


@pytest.mark.parametrize(
    ("tape", "code", "halted"),
    [
        ("A", "2", True),
        ("A", "3", False),
        ("C", "H", True),
        ("C", "P", True),
        ("C", "T", False),
        *(("B", code, None) for code in "1456789ACDEF"),  # indications, imbalances, bands
        ("C", "Q", None),  # quotes come again, trades do not yet
        ("A", "", None),
        ("A", "?", None),
    ],
)
def test_only_some_status_codes_halt_or_resume(tape: str, code: str, halted: bool | None):
    hearing = intake()
    hearing.hear([status(code, z=tape, rm="News Pending")])
    expected = {} if halted is None else {"AAPL": (halted, "News Pending")}
    assert hearing.take_halts() == expected
    assert hearing.take_halts() == {}, "they are told once"


def test_what_neither_halts_nor_resumes_leaves_a_halt_as_it_is():
    hearing = intake()
    hearing.hear([status("2", sm="Trading Halt"), status("7"), status("E"), status("Q")])
    assert hearing.take_halts() == {"AAPL": (True, "Trading Halt")}


@pytest.mark.parametrize("is_halted", [True, False])
def test_what_an_openbell_says_is_understood(is_halted: bool):
    hearing = intake()
    said = Status("AAPL", OPENING_US, is_halted, "news")
    [(_, payload)] = unframed(MSGPACK.status(said, trade()))
    hearing.hear(msgpack.unpackb(payload, timestamp=0))
    assert hearing.take_halts() == {"AAPL": (is_halted, "news")}


def halted_before_a_break(**more: Any) -> Intake:
    hearing = intake(**more)
    hearing.hear([status("2")])
    hearing.take_halts()
    hearing.end()
    hearing.begin(AGAIN_US)
    return hearing


def test_a_trade_after_a_break_ends_a_halt_whose_resumption_fell_into_it():
    hearing = halted_before_a_break()
    trades(hearing, AGAIN_US)
    assert hearing.take_halts() == {}, "it may be from before the halt"
    trades(hearing, AGAIN_US + 1, sets_price=False, conditions=("Z",))
    assert hearing.take_halts() == {}, "a late report"
    trades(hearing, AGAIN_US + 2, AGAIN_US + 3)
    assert hearing.take_halts() == {"AAPL": (False, "")}
    trades(hearing, AGAIN_US + 4)
    assert hearing.take_halts() == {}


def test_so_it_does_after_a_restart():
    hearing = intake(halted=("AAPL", "IBM"))
    trades(hearing, OPENING_US + 1)
    assert hearing.take_halts() == {"AAPL": (False, "")}


def test_a_trade_ends_no_halt_that_this_connection_told_of():
    hearing = halted_before_a_break()
    hearing.hear([status("2", rm="again")])
    trades(hearing, AGAIN_US + 1)
    assert hearing.take_halts() == {"AAPL": (True, "again")}


def test_a_trade_ends_no_halt_of_another_openbell_which_tells_itself():
    """Its operator may have halted what the market goes on to trade."""
    hearing = halted_before_a_break(honest=True)
    trades(hearing, AGAIN_US + 1)
    assert hearing.take_halts() == {}
    [(_, payload)] = unframed(MSGPACK_HONEST.snapshot("AAPL", None, None, None, halted=False))
    hearing.hear(msgpack.unpackb(payload, timestamp=0))
    assert hearing.take_halts() == {"AAPL": (False, "")}
