"""`/v2/{feed}` as its clients see it, without a network: contract section 11."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any

import msgpack
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quotes import latest
from quotes.streaming import consumers, heart, limits, off_loop, seats, watch
from quotes.streaming import hub as hub_module
from quotes.streaming.bus import BARS, CONTROL, TICK_TOPICS, bus, forget_bus
from quotes.streaming.codec import unframed
from quotes.streaming.consumers import MarketDataConsumer
from tests.streams import (
    Client,
    Doorman,
    Someone,
    Wire,
    bar,
    batch,
    connected,
    quote,
    threads_of_its_own,
    trade,
)
from tests.waiting import until

TICKS = TICK_TOPICS[0]
CONNECTED = [{"T": "success", "msg": "connected"}]
AUTHENTICATED = [{"T": "success", "msg": "authenticated"}]
AUTH = {"action": "auth", "key": "KEY", "secret": "secret"}
WRONG = {**AUTH, "secret": "guess"}
COOKIE = {"cookie": "session=1"}


def error(code: int, text: str) -> list[dict[str, Any]]:
    return [{"T": "error", "code": code, "msg": text}]


@pytest.fixture
def doorman() -> Doorman:
    return Doorman(cookies={b"session=1": Someone(key_id=None)})


@pytest.fixture
def app(doorman: Doorman) -> Any:
    return MarketDataConsumer.as_asgi(authenticate=doorman, sockets_per_account=3)


@pytest.fixture(autouse=True)
async def afresh(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """A bus of its own, quick refusals, no heartbeat unless a test asks for it, and at the end
    nothing left in the hub."""
    forget_bus()
    monkeypatch.setattr(heart, "HEARTBEAT_SECONDS", 3_600)
    monkeypatch.setattr(limits, "FAILURE_DELAY_SECONDS_MAX", 0.0)
    with threads_of_its_own():
        yield
    await asyncio.sleep(0)
    assert not hub_module.hub().sockets
    assert not hub_module.hub()._users
    assert not consumers._strangers
    assert not watch.watch()._sweep.goes_on
    assert not seats.seats().taken
    forget_bus()


async def enter(client: Client, message: Any = AUTH) -> Client:
    assert await client.hear() == CONNECTED
    assert await client.ask(message) == AUTHENTICATED
    return client


async def subscribe(client: Client, **channels: list[str]) -> dict[str, Any]:
    [ack] = await client.ask({"action": "subscribe", **channels})
    assert ack["T"] == "subscription"
    return ack


# --- the ordinary course ------------------------------------------------------------------------


async def test_a_client_connects_authenticates_subscribes_and_hears(app: Any) -> None:
    async with connected(app) as client:
        await enter(client)
        ack = await subscribe(client, trades=["AAPL"], quotes=["AAPL"], bars=["*"])
        bus().publish(TICKS, batch(quote(), trade(), quote("IBM")))
        bus().publish(BARS, [bar("IBM")])
        heard = await client.hear_many(3)

    assert ack["bars"] == ["*"]
    assert sorted(message["T"] + message["S"] for [message] in heard) == ["bIBM", "qAAPL", "tAAPL"]


async def test_unsubscribing_ends_the_stream(app: Any) -> None:
    async with connected(app) as client:
        await enter(client)
        await subscribe(client, quotes=["AAPL", "IBM"])
        [ack] = await client.ask({"action": "unsubscribe", "quotes": ["AAPL"]})
        bus().publish(TICKS, batch(quote("AAPL"), quote("IBM")))
        bus().publish(TICKS, batch(quote("IBM", n=2), number=2))
        heard = []
        while len(heard) < 2:
            heard += await client.hear()

    assert ack["quotes"] == ["IBM"]
    assert [message["S"] for message in heard] == ["IBM", "IBM"]


async def test_control_messages_come_alone_and_never_with_data(app: Any) -> None:
    """Trap 15: JS3 reads the first element of an array only."""
    async with connected(app) as client:
        await enter(client)
        await subscribe(client, quotes=["*"])
        for n in range(1, 30):
            bus().publish(TICKS, batch(quote(n=n), number=n))
            client.say({"action": "subscribe", "trades": [f"S{n}"]})
            client.say({"action": "nonsense"})
        heard = await client.hear_many(29 * 3)

    assert all(len(array) == 1 for array in [*client.heard, *heard])
    assert {array[0]["T"] for array in heard} == {"q", "subscription", "error"}


async def test_every_ack_has_nine_arrays(app: Any) -> None:
    """Trap 16: JS3 crashes on a channel that is missing."""
    async with connected(app) as client:
        await enter(client)
        acks = [
            await subscribe(client),
            await subscribe(client, bars=["A"]),
            (await client.ask({"action": "unsubscribe", "bars": ["A"]}))[0],
        ]

    assert all(sum(isinstance(value, list) for value in ack.values()) == 9 for ack in acks)


async def test_the_handshake_header_chooses_msgpack_both_ways(app: Any) -> None:
    """Trap 12: binary frames, and timestamps as the msgpack extension."""
    async with connected(app, packed=True) as client:
        await enter(client)
        await subscribe(client, quotes=["AAPL"], bars=["AAPL"])
        bus().publish(TICKS, batch(quote()))
        [heard] = await client.hear()
        bus().publish(BARS, [bar()])
        await client.until(lambda: client.frames)
        raw = client.frames[0]

    assert isinstance(heard["t"], msgpack.Timestamp)
    assert isinstance(raw, bytes)


async def test_auth_before_the_welcome_is_answered_after_it(app: Any) -> None:
    """Trap 14: JS clients send auth on open, before they have read anything."""
    async with connected(app) as client:
        client.say(AUTH)
        client.say({"action": "subscribe", "quotes": ["AAPL"]})
        heard = await client.hear_many(3)

    assert heard[:2] == [CONNECTED, AUTHENTICATED]
    assert heard[2][0]["quotes"] == ["AAPL"]


async def test_json_comes_in_text_frames_and_may_be_sent_in_binary_ones(app: Any) -> None:
    async with connected(app) as client:
        await client.until(lambda: client.frames)
        assert isinstance(client.frames[0], str)
        await client.hear()
        client.say_raw(orjson.dumps(AUTH))
        assert await client.hear() == AUTHENTICATED


# --- who is let in ------------------------------------------------------------------------------


async def test_keys_in_the_handshake_need_no_auth_message(app: Any) -> None:
    headers = {"apca-api-key-id": "KEY", "apca-api-secret-key": "secret"}
    async with connected(app, headers=headers) as client:
        assert await client.hear_many(2) == [CONNECTED, AUTHENTICATED]
        await subscribe(client, quotes=["AAPL"])


async def test_wrong_keys_in_the_handshake_are_refused_and_may_be_corrected(app: Any) -> None:
    headers = {"apca-api-key-id": "KEY", "apca-api-secret-key": "guess"}
    async with connected(app, headers=headers) as client:
        assert await client.hear_many(2) == [CONNECTED, error(402, "auth failed")]
        assert await client.ask(AUTH) == AUTHENTICATED


async def test_a_session_cookie_lets_the_browser_in(app: Any) -> None:
    async with connected(app, headers=COOKIE) as client:
        assert await client.hear_many(2) == [CONNECTED, AUTHENTICATED]


async def test_a_cookie_that_means_nothing_is_passed_over(app: Any) -> None:
    async with connected(app, headers={"cookie": "theme=dark"}) as client:
        assert await client.hear() == CONNECTED
        assert await client.ask(AUTH) == AUTHENTICATED


async def test_the_database_is_never_asked_on_the_loop(app: Any, doorman: Doorman) -> None:
    threads: list[str] = []
    by_key = doorman.by_key

    def watched(key_id: object, secret: object) -> Someone | None:
        threads.append(threading.current_thread().name)
        return by_key(key_id, secret)

    doorman.by_key = watched  # type: ignore[method-assign]
    async with connected(app) as client:
        await enter(client)

    assert [name.partition("_")[0] for name in threads] == ["stream"]


# --- every error of the contract ----------------------------------------------------------------


@pytest.mark.parametrize(
    "content", ["{", "", "nonsense", "[]", "null", '{"action":"dance"}', b"\xff\xfe", "NaN"]
)
async def test_400_for_what_cannot_be_understood(app: Any, content: str | bytes) -> None:
    async with connected(app) as client:
        await client.hear()
        client.say_raw(content)
        assert await client.hear() == error(400, "invalid syntax")
        assert await client.ask(AUTH) == AUTHENTICATED


async def test_400_for_the_wrong_codec(app: Any) -> None:
    async with connected(app) as talks_json, connected(app, packed=True) as talks_msgpack:
        await talks_json.hear()
        talks_json.say_raw(msgpack.packb(AUTH))
        assert await talks_json.hear() == error(400, "invalid syntax")
        await talks_msgpack.hear()
        talks_msgpack.say_raw(orjson.dumps(AUTH).decode())
        assert await talks_msgpack.hear() == error(400, "invalid syntax")


async def test_400_for_a_message_beyond_the_limit(app: Any) -> None:
    async with connected(app) as client:
        await enter(client)
        client.say({"action": "subscribe", "id": "x" * limits.MESSAGE_BYTES_MAX, "quotes": ["A"]})
        assert await client.hear() == error(400, "invalid syntax")
        assert (await subscribe(client))["quotes"] == []


async def test_401_before_authentication(app: Any) -> None:
    async with connected(app) as client, connected(app) as other:
        await client.hear()
        for action in ("subscribe", "unsubscribe"):
            answer = await client.ask({"action": action, "quotes": ["AAPL"]})
            assert answer == error(401, "not authenticated")
        await enter(other)
        await subscribe(other, quotes=["AAPL"])
        bus().publish(TICKS, batch(quote()))
        await other.hear()
        assert client.frames == []


@pytest.mark.parametrize(
    "message",
    [
        WRONG,
        {"action": "auth"},
        {"action": "auth", "key": None, "secret": 1},
        {"action": "auth", "key": ["KEY"], "secret": {"a": 1}},
    ],
)
async def test_402_for_wrong_credentials_of_any_type(app: Any, message: Any) -> None:
    async with connected(app) as client:
        await client.hear()
        assert await client.ask(message) == error(402, "auth failed")
        assert await client.ask(AUTH) == AUTHENTICATED


async def test_402_ends_the_connection_after_three_attempts(app: Any) -> None:
    async with connected(app) as client:
        await client.hear()
        for _ in range(3):
            assert await client.ask(WRONG) == error(402, "auth failed")
        assert await client.closed() == 4402


async def test_repeated_failures_are_answered_ever_more_slowly(
    app: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "FAILURE_DELAY_SECONDS_MAX", 5.0)
    monkeypatch.setattr(limits, "FAILURE_DELAY_SECONDS", 0.05)
    monkeypatch.setattr(consumers, "_failures", limits.Failures())
    loop, waits = asyncio.get_running_loop(), []
    for _ in range(3):
        async with connected(app) as client:
            await client.hear()
            asked_at = loop.time()
            await client.ask(WRONG)
            waits.append(loop.time() - asked_at)

    assert [wait >= floor for wait, floor in zip(waits, (0.05, 0.1, 0.2), strict=True)] == [
        True
    ] * 3


async def test_403_for_a_second_auth(app: Any) -> None:
    async with connected(app) as client:
        await enter(client)
        assert await client.ask(AUTH) == error(403, "already authenticated")
        assert (await subscribe(client, quotes=["A"]))["quotes"] == ["A"]


async def test_404_and_the_end_when_nobody_authenticates(
    app: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    timers: list[tuple[float, asyncio.TimerHandle]] = []

    def call_later(seconds: float, then: Any, *arguments: Any, **more: Any) -> Any:
        timer = asyncio.BaseEventLoop.call_later(loop, seconds, then, *arguments, **more)  # type: ignore[arg-type]
        timers.append((seconds, timer))
        return timer

    monkeypatch.setattr(loop, "call_later", call_later)
    async with connected(app) as known:
        await enter(known)
        [running] = [timer for seconds, timer in timers if seconds == limits.AUTH_TIMEOUT_SECONDS]
        assert running.cancelled()

        monkeypatch.setattr(limits, "AUTH_TIMEOUT_SECONDS", 0.05)
        async with connected(app) as silent:
            assert await silent.hear_many(2) == [CONNECTED, error(404, "auth timeout")]
            assert await silent.closed() == 4404
        assert known.close_code is None


async def test_405_leaves_the_subscription_unchanged(
    app: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quotes.streaming.session.SYMBOLS_MAX", 3)
    async with connected(app) as client:
        await enter(client)
        await subscribe(client, quotes=["AAPL", "IBM"])
        answer = await client.ask({"action": "subscribe", "trades": ["AAPL", "IBM"]})
        assert answer == error(405, "symbol limit exceeded")
        bus().publish(TICKS, batch(trade("AAPL"), quote("AAPL")))
        [heard] = await client.hear()
        assert heard["T"] == "q"


async def test_406_for_one_socket_too_many_of_an_account(app: Any, doorman: Doorman) -> None:
    doorman.keys["SECOND", "secret"] = Someone(key_id="SECOND")
    doorman.keys["OTHER", "secret"] = Someone(2, 22, "OTHER")
    second = {**AUTH, "key": "SECOND"}
    async with connected(app) as one, connected(app) as two, connected(app) as four:
        await enter(one)
        await enter(two, second)
        async with connected(app, headers=COOKIE) as three:
            assert await three.hear_many(2) == [CONNECTED, AUTHENTICATED]
            await four.hear()
            assert await four.ask(AUTH) == error(406, "connection limit exceeded")
            assert await four.closed() == 4406
            async with connected(app) as another:
                await enter(another, {**AUTH, "key": "OTHER"})
        async with connected(app) as again:
            await enter(again)


async def test_407_before_a_slow_client_is_dropped(app: Any) -> None:
    wire = Wire()
    async with connected(app, extensions={"openbell.frames": wire}) as client:
        client.say(AUTH)
        client.say({"action": "subscribe", "trades": ["*"]})
        await until(lambda: b"subscription" in wire.written)
        wire.room = 0
        n = 0
        while not wire.waiting.endswith(b'"code":407,"msg":"slow client"}]'):
            bus().publish(TICKS, batch(*(trade(n=n + i) for i in range(1, 500)), number=n))
            n += 500
            await asyncio.sleep(0.001)
            assert n < 100_000
        wire.drain(10**9)
        assert await client.closed() == 4407

    *_, (_, last) = unframed(wire.written)
    assert orjson.loads(last) == error(407, "slow client")


@pytest.mark.parametrize("feed", ["stocks", "opra", "IEX", "iex2"])
async def test_409_for_a_feed_that_is_not_offered(app: Any, feed: str) -> None:
    async with connected(app, feed=feed) as client:
        assert await client.hear() == CONNECTED
        assert await client.ask(WRONG) == error(402, "auth failed")
        assert await client.ask(AUTH) == error(409, "insufficient subscription")
        assert await client.closed() == 4409


@pytest.mark.parametrize("feed", ["iex", "sip", "delayed_sip", "test"])
async def test_every_name_of_the_one_market_is_offered(app: Any, feed: str) -> None:
    async with connected(app, feed=feed) as client:
        await enter(client)


async def test_410_for_a_channel_of_another_feed(app: Any) -> None:
    async with connected(app) as client:
        await enter(client)
        answer = await client.ask({"action": "subscribe", "news": ["*"], "quotes": ["A"]})
        assert answer == error(410, "invalid subscribe action for this feed")
        assert (await subscribe(client))["quotes"] == []


async def test_500_for_our_own_fault_and_the_socket_lives_on(app: Any, doorman: Doorman) -> None:
    by_key = doorman.by_key

    def fail(key_id: object, secret: object) -> Someone | None:
        raise OSError("the database is away")

    doorman.by_key = fail  # type: ignore[method-assign]
    async with connected(app) as client:
        await client.hear()
        assert await client.ask(AUTH) == error(500, "internal error")
        doorman.by_key = by_key  # type: ignore[method-assign]
        assert await client.ask(AUTH) == AUTHENTICATED


async def test_a_check_that_hangs_is_given_up(
    app: Any, doorman: Doorman, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(off_loop, "TIMEOUT_SECONDS", 0.05)
    answer = threading.Event()
    doorman.by_key = lambda *_: answer.wait(5) or None  # type: ignore[method-assign]
    async with connected(app) as client:
        await client.hear()
        assert await client.ask(AUTH) == error(500, "internal error")
        answer.set()


async def test_a_flood_of_messages_is_ended(app: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MESSAGES_BURST", 20)
    async with connected(app) as client:
        await enter(client)
        for _ in range(50):
            client.say({"action": "subscribe", "quotes": ["A"]})
        assert await client.closed() == 4429

    assert client.frames.count('[{"T":"error","code":429,"msg":"too many messages"}]') == 1


async def test_a_crowd_of_strangers_is_not_accepted(
    app: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "STRANGERS_MAX", 2)
    async with connected(app) as one, connected(app) as two:
        await one.hear()
        await two.hear()
        async with connected(app) as three:
            await three.closed()
            assert not three.accepted
        await one.ask(AUTH)
        async with connected(app) as four:
            assert await four.hear() == CONNECTED


# --- who is shut out ----------------------------------------------------------------------------


async def test_a_revoked_key_closes_its_sockets_and_no_others(app: Any) -> None:
    async with connected(app) as by_key, connected(app, headers=COOKIE) as by_cookie:
        await enter(by_key)
        await by_cookie.hear_many(2)
        bus().publish(CONTROL, {"kind": "key_revoked", "key_id": "KEY"})
        assert await by_key.hear() == error(402, "auth failed")
        assert await by_key.closed() == 4401
        assert by_cookie.close_code is None


async def test_a_disabled_user_loses_every_socket(app: Any) -> None:
    async with connected(app) as by_key, connected(app, headers=COOKIE) as by_cookie:
        await enter(by_key)
        await by_cookie.hear_many(2)
        bus().publish(CONTROL, {"kind": "user_disabled", "user_id": 1})
        assert [await by_key.closed(), await by_cookie.closed()] == [4401, 4401]


async def test_a_login_session_is_checked_again_for_there_is_no_news_of_its_end(
    app: Any, doorman: Doorman, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "RECHECK_SECONDS", 0.02)
    async with connected(app) as by_key, connected(app, headers=COOKIE) as by_cookie:
        await enter(by_key)
        await by_cookie.hear_many(2)
        await asyncio.sleep(0.1)
        assert by_key.close_code is by_cookie.close_code is None

        doorman.cookies.clear()
        assert await by_cookie.closed() == 4401
        assert by_key.close_code is None


async def test_a_recheck_that_fails_shuts_nobody_out(
    app: Any, doorman: Doorman, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "RECHECK_SECONDS", 0.02)
    asked = []

    class Away:
        def get(self, key: object) -> None:
            asked.append(key)
            raise OSError("the database is away")

    async with connected(app, headers=COOKIE) as client:
        await client.hear_many(2)
        doorman.cookies = Away()  # type: ignore[assignment]
        await until(lambda: len(asked) > 1)
        assert client.close_code is None


# --- honest streams -----------------------------------------------------------------------------


async def test_honest_clients_get_ack_snapshot_stream_and_heartbeat(
    app: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heart, "HEARTBEAT_SECONDS", 0.05)
    latest.forget_latest()
    latest.put_many([quote(n=7), trade(n=3)])
    async with connected(app, query="honest=1", headers=COOKIE) as client:
        await client.hear_many(2)
        client.say({"action": "subscribe", "quotes": ["AAPL"], "trades": ["AAPL"]})
        while True:
            [message] = await client.hear()
            if message["T"] == "snapshot":
                break
        bus().publish(TICKS, batch(quote(n=8), trade(n=4)))
        while client.heard[-1][0].get("quotes") != {"AAPL": [1, 8]}:
            await client.hear()

    kinds = [message["T"] for [message] in client.heard if message["T"] != "heartbeat"]
    assert kinds == ["success", "success", "subscription", "snapshot", "q", "t"]
    assert (message["quote"]["seq"], message["trade"]["seq"]) == (7, 3)
    beat = client.heard[-1][0]
    assert beat["sent"] == len(client.heard) - 1
    latest.forget_latest()


async def test_plain_clients_see_nothing_of_honesty(
    app: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heart, "HEARTBEAT_SECONDS", 0.01)
    async with (
        connected(app, query="honest=0") as client,
        connected(app, query="honest=1") as other,
    ):
        await enter(client)
        await subscribe(client, quotes=["AAPL"])
        await enter(other)
        while (await other.hear())[0]["T"] != "heartbeat":
            pass
        assert client.frames == []


async def test_an_honest_client_that_lost_something_asks_for_a_resync(app: Any) -> None:
    latest.forget_latest()
    latest.put_many([quote(), trade(), quote("IBM"), trade("IBM")])
    async with connected(app, query="honest=1") as client:
        await enter(client)
        await subscribe(client, quotes=["AAPL", "IBM"])
        await client.hear_many(2)
        client.say({"action": "resync", "id": 5})
        heard = [message for [message] in await client.hear_many(2)]
        for bad in ("5", -1, 2**53, 1.5):
            assert await client.ask({"action": "resync", "id": bad}) == error(400, "invalid syntax")
    latest.forget_latest()

    assert {one["S"] for one in heard} == {"AAPL", "IBM"}
    assert {(one["T"], one["resync"]) for one in heard} == {("snapshot", 5)}


async def test_a_plain_client_cannot_resync(app: Any) -> None:
    async with connected(app) as client:
        await enter(client)
        assert await client.ask({"action": "resync"}) == error(400, "invalid syntax")


async def test_an_honest_client_gets_no_snapshot_twice(app: Any) -> None:
    latest.forget_latest()
    latest.put_many([quote(), trade(), quote("IBM"), trade("IBM")])
    async with connected(app, query="honest=1") as client:
        await enter(client)
        await subscribe(client, quotes=["AAPL"])
        assert (await client.hear())[0]["S"] == "AAPL"
        await subscribe(client, quotes=["AAPL", "IBM"], trades=["IBM"])
        assert (await client.hear())[0]["S"] == "IBM"
        await client.silence()
    latest.forget_latest()


# --- anything at all ----------------------------------------------------------------------------

nonsense = st.binary(max_size=40) | st.text(max_size=40)
symbols = st.lists(st.sampled_from(["AAPL", "IBM", "*", "", 5]), max_size=3)
messages = st.fixed_dictionaries(
    {"action": st.sampled_from(["auth", "subscribe", "unsubscribe", "x"])},
    optional={"key": st.just("KEY"), "secret": st.sampled_from(["secret", "x"]), "quotes": symbols},
).map(lambda message: orjson.dumps(message).decode())


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(nonsense | messages, max_size=8), st.booleans())
def test_whatever_is_sent_every_message_is_answered_and_none_with_500(
    sent: list[bytes | str], honest: bool
) -> None:
    app = MarketDataConsumer.as_asgi(authenticate=Doorman())

    async def play() -> None:
        async with connected(app, query=f"honest={int(honest)}") as client:
            await client.hear()
            for content in sent:
                client.say_raw(content)
                [answer] = await client.hear()
                assert answer["T"] in ("success", "subscription", "error")
                assert answer.get("code") != 500
                if client.close_code is not None or answer.get("code") == 402:
                    break
        assert not hub_module.hub().sockets

    asyncio.run(play())
