"""Sockets whose key was revoked or whose user was disabled, when no news of it came."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from quotes.streaming import watch
from quotes.streaming.bus import forget_bus
from quotes.streaming.consumers import MarketDataConsumer
from tests.streams import (
    Client,
    Doorman,
    Lately,
    Someone,
    all_at_the_door,
    connected,
    enter,
    threads_of_its_own,
)
from tests.waiting import until

OTHER = Someone(2, 22, "OTHER")


@dataclass(eq=False)
class Arrived:
    """A guest without a socket."""

    authenticator: Doorman
    credential: Someone
    revoked: bool = False

    def revoke(self) -> None:
        self.revoked = True


@pytest.fixture
def doorman() -> Doorman:
    return Doorman({("KEY", "secret"): Someone(), ("OTHER", "secret"): OTHER})


@pytest.fixture
def app(doorman: Doorman) -> Any:
    return MarketDataConsumer.as_asgi(authenticate=doorman)


@pytest.fixture(autouse=True)
async def afresh(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """A bus of its own, quick sweeps, and at the end nobody who is looked after."""
    forget_bus()
    monkeypatch.setattr(watch, "SWEEP_SECONDS", 0.02)
    with threads_of_its_own():
        yield
    assert not watch.watch()._sweep.goes_on
    assert not watch.watch()._lists
    forget_bus()


async def still_answers(client: Client) -> None:
    """It hears what it asks for, and nothing before."""
    [answer] = await client.ask({"action": "subscribe", "quotes": []})
    assert answer["T"] == "subscription"


async def test_who_was_shut_out_is_found_though_the_news_was_lost(
    app: Any, doorman: Doorman
) -> None:
    async with connected(app) as gone, connected(app) as stays:
        await enter(gone)
        await enter(stays, "OTHER")
        doorman.gone = {Someone()}
        assert await gone.hear() == [{"T": "error", "code": 402, "msg": "auth failed"}]
        assert await gone.closed() == 4401
        await still_answers(stays)


async def test_who_was_shut_out_is_found_while_a_fleet_logs_in(app: Any, doorman: Doorman) -> None:
    async with connected(app) as gone:
        await enter(gone)
        with all_at_the_door():
            doorman.gone = {Someone()}
            assert await gone.closed() == 4401


async def test_a_sweep_asks_about_a_socket_once_and_then_who_was_shut_out_of_late(
    app: Any, doorman: Doorman, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "TURN_USERS", 0)
    about: list[set[Someone]] = []
    marks: list[object] = []

    def shut_out(credentials: Any) -> Any:
        about.append(set(credentials))
        return doorman.gone & credentials

    def shut_out_since(mark: Any) -> Lately:
        marks.append(mark)
        return Lately({}, set(), len(marks))

    async def swept(times: int) -> None:
        count = len(marks) + times
        await until(lambda: len(marks) >= count, "the sweeps")

    doorman.shut_out, doorman.shut_out_since = shut_out, shut_out_since  # type: ignore[method-assign]
    async with connected(app) as one, connected(app) as other:
        await enter(one)
        await swept(3)
        doorman.gone = {OTHER}  # revoked while it was let in
        await enter(other, "OTHER")
        assert await other.closed() == 4401
        await swept(3)
        assert about == [{Someone()}, doorman.gone]
        assert one.close_code is None
        assert marks == [None, *range(1, len(marks))]


async def test_a_fleet_that_came_at_once_is_asked_about_in_short_questions(
    doorman: Doorman, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "TURN_USERS", 0)
    asked: list[int] = []

    def shut_out(credentials: Any) -> Any:
        asked.append(len(credentials))
        if len(asked) == 2:
            raise OSError("the database is away")
        return doorman.gone & credentials

    doorman.shut_out = shut_out  # type: ignore[method-assign]
    doorman.shut_out_since = lambda mark: Lately({}, set(), mark)  # type: ignore[method-assign]
    guests = watch.GuestList(doorman)
    fleet = [Arrived(doorman, Someone(n, n, f"KEY{n}")) for n in range(1_200)]
    for each in fleet:
        guests.add(each)

    with pytest.raises(OSError, match="away"):
        await guests.sweep()
    doorman.gone = {each.credential for each in fleet if each in guests._new}
    await guests.sweep()
    await guests.sweep()

    assert asked == [500, 500, 500, 200]  # whom the one that failed was about are asked about again
    assert [each.revoked for each in fleet].count(True) == 700


async def test_whose_key_is_another_accounts_now_is_shut_out_and_who_came_since_stays(
    doorman: Doorman, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "TURN_USERS", 0)
    guests = watch.GuestList(doorman)
    begun_anew, since = Someone(account_id=11), Someone(account_id=12)
    before, after = Arrived(doorman, begun_anew), Arrived(doorman, since)
    with_session = Arrived(doorman, Someone(account_id=11, key_id=None))
    for each in (before, after, with_session):
        guests.add(each)
    await guests.sweep()  # and nobody is new any more

    doorman.gone = {begun_anew}
    doorman.shut_out_since = lambda mark: Lately({}, set(), mark, frozenset({11}))  # type: ignore[method-assign]
    await guests.sweep()

    assert (before.revoked, after.revoked, with_session.revoked) == (True, False, False)


@pytest.mark.parametrize("question", ["shut_out", "shut_out_since"])
async def test_a_sweep_that_fails_shuts_nobody_out_and_goes_on(
    app: Any, doorman: Doorman, question: str
) -> None:
    failures: list[Any] = []

    def fail(credentials: Any) -> Any:
        failures.append(credentials)
        raise OSError("the database is away")

    setattr(doorman, question, fail)
    async with connected(app) as client:
        await enter(client)
        await until(lambda: len(failures) > 1, "two that failed")
        await still_answers(client)
        delattr(doorman, question)
        doorman.gone = {Someone()}
        await client.closed()


async def test_all_are_asked_about_in_turn_in_case_a_row_was_changed_by_hand(
    app: Any, doorman: Doorman, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "TURN_USERS", 1)
    doorman.shut_out_since = lambda mark: Lately({}, set(), mark)  # type: ignore[method-assign]
    async with connected(app) as one, connected(app) as other, connected(app) as second:
        for client, key in ((one, "KEY"), (other, "OTHER"), (second, "OTHER")):
            await enter(client, key)
        await until(lambda: not watch.watch()._lists[id(doorman)]._new, "the first question")

        doorman.gone = {OTHER}
        assert await other.closed() == await second.closed() == 4401
        assert one.close_code is None
        doorman.gone = {Someone()}
        assert await one.closed() == 4401
