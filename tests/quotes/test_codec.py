"""The wire forms of market data: contract sections 10.1, 11.1 and 11.3."""

from __future__ import annotations

import contextlib
import json
from datetime import UTC, datetime

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quotes.amounts import PRICE_UNIT
from quotes.streaming.codec import (
    BINARY,
    JSON,
    JSON_HONEST,
    MSGPACK,
    MSGPACK_HONEST,
    TEXT,
    Codec,
    Number,
    Status,
    framed,
    market_codec,
    rfc3339,
    trade_id,
    unframed,
)
from quotes.ticks import to_micros
from tests.streams import OPENING_US, bar, quote, trade

FIRST = Number(1, 1)


def payload(frame: bytes) -> bytes:
    [(_, content)] = unframed(frame)
    return content


def in_json(frame: bytes) -> list[dict[str, object]]:
    return json.loads(payload(frame))


def in_msgpack(frame: bytes) -> list[dict[str, object]]:
    return msgpack.unpackb(payload(frame))


def test_quote_has_every_key_of_the_contract() -> None:
    assert in_json(JSON.quote(quote(bid_exchange="V", ask_exchange="Q"))) == [
        {
            "T": "q",
            "S": "AAPL",
            "bx": "V",
            "bp": 49.41,
            "bs": 3,
            "ax": "Q",
            "ap": 49.42,
            "as": 5,
            "t": "2013-10-07T13:30:00.000001Z",
            "c": ["R"],
            "z": "",
        }
    ]


def test_trade_has_every_key_of_the_contract() -> None:
    assert in_json(JSON.trade(trade(n=7, conditions=("@", "I")))) == [
        {
            "T": "t",
            "S": "AAPL",
            "i": 2**32 + 7,
            "x": "V",
            "p": 49.415,
            "s": 100,
            "t": "2013-10-07T13:30:00.000007Z",
            "c": ["@", "I"],
            "z": "",
        }
    ]


def test_bar_has_every_key_of_the_contract() -> None:
    assert in_json(JSON.bar("b", bar(trade_count=4, vwap=494_123), Number(1, 1))) == [
        {
            "T": "b",
            "S": "AAPL",
            "o": 49.41,
            "h": 49.45,
            "l": 49.4,
            "c": 49.42,
            "v": 1_000,
            "n": 4,
            "vw": 49.4123,
            "t": "2013-10-07T13:30:00.000000Z",
        }
    ]


def test_bar_without_an_average_says_null_and_keeps_the_key() -> None:
    [message] = in_json(JSON.bar("u", bar(), Number(1, 1)))

    assert message["vw"] is None
    assert message["n"] == 0


def test_status_has_every_key_of_the_contract() -> None:
    [halt] = in_json(JSON.status(Status("AAPL", OPENING_US, halted=True, reason="news"), FIRST))
    [resumption] = in_json(JSON.status(Status("AAPL", OPENING_US, halted=False), FIRST))

    assert halt == {
        "T": "s",
        "S": "AAPL",
        "sc": "H",
        "sm": "Trading Halt",
        "rc": "O1",
        "rm": "news",
        "t": "2013-10-07T13:30:00.000000Z",
        "z": "",
    }
    assert resumption.keys() == halt.keys()
    assert resumption["sc"] == "T"


def test_msgpack_times_are_the_timestamp_extension() -> None:
    frames = [
        MSGPACK.quote(quote()),
        MSGPACK.trade(trade()),
        MSGPACK.bar("b", bar(), Number(1, 1)),
        MSGPACK.status(Status("AAPL", OPENING_US, halted=True), FIRST),
    ]

    for frame in frames:
        [message] = in_msgpack(frame)
        assert isinstance(message["t"], msgpack.Timestamp)
        assert all(isinstance(key, str) for key in message)
    [message] = in_msgpack(frames[0])
    assert message["t"].to_datetime() == datetime(2013, 10, 7, 13, 30, 0, 1, tzinfo=UTC)


def test_both_codecs_say_the_same_numbers() -> None:
    [text], [packed] = in_json(JSON.quote(quote())), in_msgpack(MSGPACK.quote(quote()))

    assert {**text, "t": 0} == {**packed, "t": 0}


@pytest.mark.parametrize("codec", [JSON_HONEST, MSGPACK_HONEST])
def test_honest_messages_carry_their_number_and_epoch(codec: Codec) -> None:
    read = in_json if codec is JSON_HONEST else in_msgpack
    frames = [
        codec.quote(quote(n=5, epoch=3)),
        codec.trade(trade(n=5, epoch=3)),
        codec.bar("b", bar(), Number(5, 3)),
    ]

    for frame in frames:
        [message] = read(frame)
        assert (message["seq"], message["epoch"]) == (5, 3)


def test_plain_messages_carry_no_numbers() -> None:
    for frame in (JSON.quote(quote()), JSON.trade(trade()), JSON.bar("b", bar(), Number(1, 1))):
        assert not {"seq", "epoch"} & in_json(frame)[0].keys()


def test_honest_trade_says_when_it_sets_no_price() -> None:
    [volume_only] = in_json(JSON_HONEST.trade(trade(sets_price=False)))
    [ordinary] = in_json(JSON_HONEST.trade(trade()))
    [plain] = in_json(JSON.trade(trade(sets_price=False)))

    assert volume_only["sets_price"] is False
    assert "sets_price" not in ordinary
    assert "sets_price" not in plain


@given(st.integers(0, 10**11))
def test_prices_print_as_their_decimal(units: int) -> None:
    text = payload(JSON.trade(trade(price=units))).decode()

    printed = text.split('"p":')[1].split(",")[0]
    assert float(printed) == units / PRICE_UNIT
    assert round(float(printed) * PRICE_UNIT) == units
    assert "e" in printed or len(printed.partition(".")[2]) <= 4


@given(st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1)))  # noqa: DTZ001 - aware below
def test_times_keep_their_microseconds(naive: datetime) -> None:
    at = naive.replace(tzinfo=UTC)

    text = rfc3339(to_micros(at))

    assert text.endswith("Z")
    assert datetime.fromisoformat(text) == at


@given(st.integers(1, 2**20), st.integers(1, 2**31))
def test_trade_ids_fit_javascript_and_differ_between_epochs(epoch: int, n: int) -> None:
    number = trade_id(trade(n=n, epoch=epoch))

    assert number < 2**53
    assert number != trade_id(trade(n=n, epoch=epoch + 1))


@pytest.mark.parametrize("length", [0, 1, 125, 126, 65_535, 65_536, 70_000])
def test_frames_read_back_at_every_length_form(length: int) -> None:
    frames = framed(b"x" * length, BINARY) + framed(b"next", TEXT)

    assert list(unframed(frames)) == [(BINARY, b"x" * length), (TEXT, b"next")]


def test_frame_is_what_a_websocket_library_reads() -> None:
    from websockets.frames import Opcode
    from websockets.protocol import OPEN, Protocol, Side

    reader = Protocol(Side.CLIENT, state=OPEN)
    for frame in (JSON.quote(quote()), MSGPACK.quote(quote()), JSON.frame(["x" * 70_000])):
        reader.receive_data(frame)

    received = reader.events_received()
    assert [event.opcode for event in received] == [Opcode.TEXT, Opcode.BINARY, Opcode.TEXT]
    assert json.loads(received[0].data) == in_json(JSON.quote(quote()))


def test_content_type_chooses_the_codec() -> None:
    assert market_codec("application/msgpack", honest=False) is MSGPACK
    assert market_codec("Application/MsgPack; charset=binary", honest=True) is MSGPACK_HONEST
    assert market_codec("", honest=True) is JSON_HONEST
    assert market_codec("application/json", honest=False) is JSON


@given(st.sampled_from([JSON, MSGPACK]), st.binary() | st.text())
def test_decoding_anything_gives_a_value_or_valueerror(codec: Codec, received: bytes | str) -> None:
    with contextlib.suppress(ValueError):
        codec.decode(received)


@pytest.mark.parametrize("codec", [JSON, MSGPACK])
def test_deep_nesting_is_undecodable_and_no_crash(codec: Codec) -> None:
    deep = b"[" * 50_000 if codec is JSON else b"\x91" * 50_000

    with pytest.raises(ValueError, match="undecodable"):
        codec.decode(deep)
