"""`/stream` as its clients see it, without a network: contract section 12."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from events.models import Event
from quotes.streaming import hub as hub_module
from quotes.streaming import limits
from quotes.streaming.bus import CONTROL, bus
from quotes.streaming.codec import unframed
from quotes.streaming.off_loop import off_loop
from quotes.streaming.session import CheckKey, Refusal
from tests.people import Trader, a_trader
from tests.streams import (
    Doorman,
    Someone,
    Wire,
    connected,
    leaving_no,
    lose_newest,
)
from tests.trading.update_clients import (
    AUTHORIZED,
    LISTEN,
    LISTENING,
    authenticate,
    happen,
    hears_nothing_else,
    listen,
    numbers,
    open_stream,
    orders,
    write,
)
from tests.waiting import until
from trading import delivery
from trading.streaming import Listen, TradeUpdatesConsumer, announce, understand

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("alone")]

UNAUTHORIZED = {
    "stream": "authorization",
    "data": {"status": "unauthorized", "action": "authenticate", "error": "auth failed"},
}


# --- the ordinary course ------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/stream", "/stream/"])
async def test_an_update_reaches_who_listens(app: Any, trader: Trader, path: str) -> None:
    """Trap 18: the legacy client connects with the slash, the others without."""
    async with connected(app, path=path) as client:
        assert await listen(client, trader) == LISTENING
        [event] = await happen(trader.account)
        update = await client.hear()

    assert update == {"stream": "trade_updates", "data": event.payload}


async def test_every_frame_is_binary_and_holds_one_object_with_data(
    app: Any, trader: Trader
) -> None:
    """Trap 17: JS3 needs `data` in every message, alpaca-py a timestamp in every update."""
    async with open_stream(app) as client:
        for content in ("{", "[]", '{"action":"dance","data":{}}'):
            client.say_raw(content)
        client.say(LISTEN)
        client.say(authenticate(trader))
        client.say(LISTEN)
        await client.until(lambda: len(client.frames) == 6)
        await happen(trader.account)
        await client.until(lambda: len(client.frames) == 7)
        frames = list(client.frames)

    messages = [orjson.loads(frame) for frame in frames]
    assert all(isinstance(frame, bytes) for frame in frames)
    assert all(isinstance(message["data"], dict) for message in messages)
    assert messages[-1]["data"]["timestamp"]


async def test_both_forms_of_authentication_are_accepted(app: Any, trader: Trader) -> None:
    forms = [
        authenticate(trader),
        {"action": "auth", "key": trader.key_id, "secret": trader.secret},
        {"action": "auth", "data": {"key_id": trader.key_id, "secret_key": trader.secret}},
    ]
    for form in forms:
        async with open_stream(app) as client:
            assert await client.ask(form) == AUTHORIZED


async def test_the_first_thing_said_is_the_answer_to_authenticate(app: Any, trader: Trader) -> None:
    headers = {name.lower(): value for name, value in trader.headers.items()}
    async with open_stream(app, headers=headers) as client:
        assert await client.ask(authenticate(trader)) == AUTHORIZED


async def test_keys_in_the_handshake_suffice_to_listen(app: Any, trader: Trader) -> None:
    headers = {name.lower(): value for name, value in trader.headers.items()}
    async with open_stream(app, headers=headers) as client:
        assert await client.ask(LISTEN) == LISTENING
        events = await happen(trader.account)
        assert await orders(client, 1) == numbers(events)


async def test_listening_again_replaces_what_is_listened_to(app: Any, trader: Trader) -> None:
    async with open_stream(app) as client:
        await listen(client, trader)
        nothing = {"action": "listen", "data": {"streams": []}}
        assert await client.ask(nothing) == {"stream": "listening", "data": {"streams": []}}
        await happen(trader.account)

        unknown = {"action": "listen", "data": {"streams": ["trade_updates", "gossip"]}}
        assert await client.ask(unknown) == LISTENING
        assert await client.ask(LISTEN) == LISTENING
        await hears_nothing_else(client, trader.account)
        await hears_nothing_else(client, trader.account)


async def test_every_socket_of_the_account_hears_and_no_other_account(
    app: Any, trader: Trader
) -> None:
    other = await off_loop(a_trader)
    async with open_stream(app) as one, open_stream(app) as two, open_stream(app) as stranger:
        for client, whose in ((one, trader), (two, trader), (stranger, other)):
            await listen(client, whose)
        own = await happen(trader.account, 3)
        theirs = await happen(other.account, 1)
        assert await orders(one, 3) == await orders(two, 3) == numbers(own)
        assert await orders(stranger, 1) == numbers(theirs)
        await hears_nothing_else(one, trader.account)
        assert len(await orders(two, 1)) == 1
        await hears_nothing_else(stranger, other.account)
        assert one.frames == two.frames == []


# --- who is let in ------------------------------------------------------------------------------


async def test_listening_before_authentication_is_unauthorized(app: Any, trader: Trader) -> None:
    async with open_stream(app) as client:
        assert await client.ask(LISTEN) == {
            "stream": "authorization",
            "data": {"status": "unauthorized", "action": "listen"},
        }
        await happen(trader.account)
        assert await listen(client, trader) == LISTENING
        await hears_nothing_else(client, trader.account)


async def test_wrong_credentials_are_unauthorized(app: Any, trader: Trader) -> None:
    wrong = [
        {"key_id": trader.key_id, "secret_key": "guess"},
        {"key_id": None, "secret_key": 5},
        {},
    ]
    async with open_stream(app) as client:
        for data in wrong:
            assert await client.ask({"action": "authenticate", "data": data}) == UNAUTHORIZED
        assert await client.closed() == 4402


async def test_nobody_becomes_someone_else_on_an_open_socket(app: Any, trader: Trader) -> None:
    other = await off_loop(a_trader)
    async with open_stream(app) as client:
        await listen(client, trader)
        assert await client.ask(authenticate(trader)) == AUTHORIZED
        assert await client.ask(authenticate(other)) == UNAUTHORIZED
        await happen(other.account)
        events = await happen(trader.account)
        assert await orders(client, 1) == numbers(events)


async def test_silence_is_ended_after_a_while(app: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "AUTH_TIMEOUT_SECONDS", 0.05)
    async with open_stream(app) as client:
        assert (await client.hear())["data"]["status"] == "unauthorized"
        assert await client.closed() == 4404


async def test_a_user_without_an_account_has_no_updates() -> None:
    doorman = Doorman({("KEY", "secret"): Someone(account_id=None)})
    app = TradeUpdatesConsumer.as_asgi(authenticate=doorman)
    async with open_stream(app) as client:
        client.say({"action": "auth", "key": "KEY", "secret": "secret"})
        assert await client.hear() == UNAUTHORIZED
        assert await client.closed() == 4402


async def test_one_socket_too_many_is_unauthorized(trader: Trader) -> None:
    doorman = Doorman({("KEY", "secret"): Someone(account_id=trader.account.pk)})
    app = TradeUpdatesConsumer.as_asgi(authenticate=doorman, sockets_per_account=1)
    auth = {"action": "auth", "key": "KEY", "secret": "secret"}
    async with open_stream(app) as one, open_stream(app) as two:
        assert await one.ask(auth) == AUTHORIZED
        answer = await two.ask(auth)
        assert answer["data"]["status"] == "unauthorized"
        assert answer["data"]["error"] == "connection limit exceeded"
        assert await two.closed() == 4406


async def test_one_that_was_let_in_too_many_is_unauthorized_later(trader: Trader) -> None:
    doorman = Doorman({("KEY", "secret"): Someone(account_id=trader.account.pk)})
    app = TradeUpdatesConsumer.as_asgi(authenticate=doorman)
    async with open_stream(app) as client:
        assert await client.ask({"action": "auth", "key": "KEY", "secret": "secret"}) == AUTHORIZED

        lose_newest(f"trade updates:account:1:{trader.account.pk}")

        assert (await client.hear())["data"]["error"] == "connection limit exceeded"
        assert await client.closed() == 4406


async def test_a_revoked_key_loses_its_stream(app: Any, trader: Trader) -> None:
    async with open_stream(app) as client:
        await listen(client, trader)
        bus().publish(CONTROL, {"kind": "key_revoked", "key_id": trader.key_id})
        assert await client.hear() == UNAUTHORIZED
        assert await client.closed() == 4401


# --- bad input ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "message",
    [
        None,
        [],
        "listen",
        {},
        {"action": "listen"},
        {"action": "listen", "data": []},
        {"action": "listen", "data": {}},
        {"action": "listen", "data": {"streams": "trade_updates"}},
        {"action": "listen", "data": {"streams": [1]}},
        {"action": "listen", "data": {"streams": [], "since": "1"}},
        {"action": "listen", "data": {"streams": [], "since": True}},
        {"action": "listen", "data": {"streams": [], "since": -1}},
        {"action": "listen", "data": {"streams": [], "since": 2**63}},
        {"action": "authenticate"},
        {"action": "authenticate", "data": "key"},
        {"action": "trade", "data": {}},
    ],
)
def test_what_cannot_be_understood_is_invalid_syntax(message: Any) -> None:
    with pytest.raises(Refusal) as refusal:
        understand(message)

    assert refusal.value.code == 400


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
fields = st.dictionaries(st.sampled_from(["streams", "since", "key_id", "secret_key"]), anything)
actions = st.sampled_from(["listen", "auth", "authenticate"]) | anything


@settings(max_examples=300, deadline=None)
@given(anything | st.fixed_dictionaries({"action": actions}, optional={"data": fields | anything}))
def test_nothing_a_client_sends_raises_anything_but_a_refusal(message: Any) -> None:
    outcome: CheckKey | Listen | Refusal
    try:
        outcome = understand(message)
    except Refusal as refusal:
        outcome = refusal

    assert isinstance(outcome, CheckKey | Listen) or outcome.code == 400


async def test_bad_input_changes_nothing(app: Any, trader: Trader) -> None:
    async with open_stream(app) as client:
        await listen(client, trader)
        refused = await client.ask({"action": "listen", "data": {"streams": [None]}})
        assert refused == {"stream": "error", "data": {"code": 400, "error": "invalid syntax"}}
        events = await happen(trader.account)
        assert await orders(client, 1) == numbers(events)


# --- order, and nothing lost --------------------------------------------------------------------


async def test_updates_that_arrive_in_the_wrong_order_are_put_right(
    app: Any, trader: Trader
) -> None:
    async with open_stream(app) as client:
        await listen(client, trader)
        events = await off_loop(write, trader.account, 5)
        announce(reversed(events))
        announce(events)
        assert await orders(client, 5) == numbers(events)
        await hears_nothing_else(client, trader.account)


async def test_what_the_bus_lost_is_read_from_the_log(app: Any, trader: Trader) -> None:
    async with open_stream(app) as client:
        await listen(client, trader)
        events = await off_loop(write, trader.account, 450)
        announce(events[-1:])
        assert await orders(client, 450) == numbers(events)
        await hears_nothing_else(client, trader.account)


async def test_what_was_lost_without_a_successor_is_found_by_the_sweep(
    app: Any, trader: Trader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "SWEEP_SECONDS", 0.05)
    async with open_stream(app) as client:
        await listen(client, trader)
        events = await off_loop(write, trader.account, 2)
        assert await orders(client, 2) == numbers(events)


async def test_events_that_are_no_updates_leave_no_hole(app: Any, trader: Trader) -> None:
    async with open_stream(app) as client:
        await listen(client, trader)
        deposit = await off_loop(write, trader.account, 1, "portfolios.cash.deposited")
        order = await off_loop(write, trader.account)
        announce(order)
        assert await orders(client, 1) == numbers(order)
        refusal = await off_loop(write, trader.account, 1, "access.key.created")
        announce(refusal)
        await hears_nothing_else(client, trader.account)

    assert numbers(deposit)[0] == numbers(order)[0] - 1


async def test_what_came_before_listening_is_not_told(app: Any, trader: Trader) -> None:
    before = await happen(trader.account, 3)
    async with open_stream(app) as client:
        await listen(client, trader)
        announce(before)
        after = await happen(trader.account)
        assert await orders(client, 1) == numbers(after)


async def test_an_update_during_the_first_look_is_not_lost(
    app: Any, trader: Trader, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = delivery.newest_numbers
    happened: list[Event] = []

    def look_while_it_happens(account_ids: list[int]) -> dict[int, int]:
        found = look(account_ids)
        if not happened:
            happened.extend(write(trader.account, 2))
            announce(happened[1:])
        return found

    monkeypatch.setattr(delivery, "newest_numbers", look_while_it_happens)
    async with open_stream(app) as client:
        await listen(client, trader)
        assert await orders(client, 2) == numbers(happened)
        await hears_nothing_else(client, trader.account)


async def test_a_log_that_cannot_be_read_only_delays(
    app: Any, trader: Trader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "SWEEP_SECONDS", 0.05)
    read, failures = delivery.read_events, []

    def fail_twice(*arguments: Any) -> Any:
        if len(failures) < 2:
            failures.append(arguments)
            raise OSError("the database is away")
        return read(*arguments)

    monkeypatch.setattr(delivery, "read_events", fail_twice)
    async with open_stream(app) as client:
        await listen(client, trader)
        events = await off_loop(write, trader.account, 3)
        announce(events[2:])
        assert await orders(client, 3) == numbers(events)


def test_any_loss_repetition_and_order_ends_in_every_update_once(
    app: Any, trader: Trader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "PATIENCE_SECONDS", 0.001)
    monkeypatch.setattr(delivery, "EARLY_MAX", 6)
    arrivals = st.lists(st.integers(0, 11), max_size=25)

    async def play(arrived: list[int]) -> None:
        async with open_stream(app) as client:
            await listen(client, trader)
            events = await off_loop(write, trader.account, 12)
            for index in arrived:
                announce([events[index]])
            announce(events[-1:])
            assert await orders(client, 12) == numbers(events)
            await hears_nothing_else(client, trader.account)

    @settings(max_examples=15, deadline=None)
    @given(arrivals)
    def every_order(arrived: list[int]) -> None:
        asyncio.run(play(arrived))

    every_order()


async def test_a_reader_that_takes_nothing_is_told_so_and_dropped(app: Any, trader: Trader) -> None:
    wire = Wire()
    async with open_stream(app, extensions={"openbell.frames": wire}) as client:
        client.say(authenticate(trader))
        client.say(LISTEN)
        await until(lambda: b"listening" in wire.written, "the ack")
        wire.room = 0
        [event] = await off_loop(write, trader.account)
        event.payload["order"]["note"] = "x" * 20_000

        def is_told() -> bool:
            announce([event])
            event.account_sequence = (event.account_sequence or 0) + 1
            return b"slow client" in wire.waiting

        await until(is_told, "word of it")
        wire.drain(10**9)
        assert await client.closed() == 4407

    *_, (_, last) = unframed(wire.written)
    assert orjson.loads(last) == {"stream": "error", "data": {"code": 407, "error": "slow client"}}


async def test_plain_clients_hear_no_heartbeat(app: Any, trader: Trader) -> None:
    async with open_stream(app) as client:
        await listen(client, trader)
        await hub_module.hub().beat()
        hub_module.hub().drain()
        await hears_nothing_else(client, trader.account)


async def test_nothing_of_a_client_stays_until_the_garbage_is_collected(trader: Trader) -> None:
    doorman = Doorman({("KEY", "secret"): Someone(account_id=trader.account.pk)})
    app = TradeUpdatesConsumer.as_asgi(authenticate=doorman)
    with leaving_no(TradeUpdatesConsumer):
        for query in ("", "honest=1"):
            async with connected(app, path="/stream", query=query) as client:
                await client.ask({"action": "auth", "key": "KEY", "secret": "secret"})
                await client.ask(LISTEN)
            del client
            await asyncio.sleep(0)
