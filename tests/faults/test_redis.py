"""Redis dies, hangs or forgets everything while people trade.

Nothing that counts is in it: reads are answered from the database and from memory, orders are as
safe as ever, limits let everybody in, and streams go on when it is back.
"""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import UTC, datetime
from itertools import product

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from quotes.streaming.hub import REVOKED_CLOSE
from tests.conftest import LONG
from tests.faults.floor import PRIMARY, RECOVERY_SECONDS_MAX, REQUEST_SECONDS_MAX, WRITE, Floor
from tests.faults.load import Person
from tests.running import stopped
from tests.waiting import eventually

AWAY_SECONDS = 3.0
# Redis has 0.2 s to answer, and is then left alone for a second; a request asks it a few times.
SLOWEST_SECONDS_MAX = 3.0 if LONG else REQUEST_SECONDS_MAX
ROUNDS = 5
MARKET_DATA, UPDATES = "v2/iex", "stream"
OPEN_SECONDS_MAX = 30.0
REVOKED_SECONDS_MAX = 2.0 if LONG else 20.0

Hurt = Callable[[Floor], AbstractContextManager[None]]


@contextmanager
def killed(floor: Floor) -> Iterator[None]:
    with floor.cluster.unwatched("redis"):
        floor.signal("redis", signal.SIGKILL)
        yield


@contextmanager
def hung(floor: Floor) -> Iterator[None]:
    with stopped(floor.cluster.pid("redis")):
        yield


@contextmanager
def flushed(floor: Floor) -> Iterator[None]:
    floor.redis("FLUSHALL")
    yield


@contextmanager
def market_stream(floor: Floor, person: Person) -> Iterator[ClientConnection]:
    """A socket that has subscribed to one symbol's quotes."""
    url = f"ws://127.0.0.1:{floor.cluster.port}/{MARKET_DATA}"
    headers = person.headers
    with connect(url, additional_headers=headers, open_timeout=OPEN_SECONDS_MAX) as stream:
        stream.send(json.dumps({"action": "subscribe", "quotes": ["AAPL"]}))
        yield stream


def until_quotes_flow(stream: ClientConnection) -> None:
    """Wait for a quote of a later time than now."""
    now, deadline = datetime.now(UTC).isoformat(), time.monotonic() + RECOVERY_SECONDS_MAX
    while True:
        messages = json.loads(stream.recv(max(0.0, deadline - time.monotonic())))
        if any(each["T"] == "q" and each["t"] > now for each in messages):
            return


def stored_quotes(floor: Floor) -> set[str]:
    """The keys of whatever Redis knows the newest quote of."""
    keys = floor.redis("KEYS", "openbell:latest:*").split()
    return {key for key in keys if not key.endswith(":lock")}


def lose_redis(floor: Floor, hurt: Hurt) -> None:
    """Nobody is refused anything, on the same sockets the market goes on, and Redis is full again
    though most instruments say nothing meanwhile."""
    load, stored = floor.load, stored_quotes(floor)
    with market_stream(floor, load.people[1]) as stream:
        until_quotes_flow(stream)
        begun = time.monotonic()

        with hurt(floor):
            hurt_at = time.monotonic()
            time.sleep(AWAY_SECONDS)
            eventually(
                lambda: [each for each in load.since(hurt_at, WRITE) if each.status == 200],
                "an order to be taken",
            )

        until_quotes_flow(stream)
    eventually(lambda: stored <= stored_quotes(floor), "all quotes", RECOVERY_SECONDS_MAX)
    assert [each for each in load.since(begun) if each.is_trouble or each.status == 429] == []
    floor.settle(begun, slowest=SLOWEST_SECONDS_MAX)


@pytest.mark.parametrize(
    "hurt",
    [
        killed,
        pytest.param(hung, marks=pytest.mark.long),
        pytest.param(flushed, marks=pytest.mark.long),
    ],
)
def test_redis_fails_and_trading_goes_on(floor: Floor, hurt: Hurt) -> None:
    lose_redis(floor, hurt)


@contextmanager
def revoked_unannounced(floor: Floor, person: Person) -> Iterator[None]:
    """A key that the database alone knows to be revoked."""
    statement = "UPDATE access_apikey SET revoked_at = {when} WHERE key_id = '{key_id}'; COMMIT"
    floor.sql(PRIMARY, statement.format(when="UTC_TIMESTAMP(6)", key_id=person.key_id))
    try:
        yield
    finally:
        floor.sql(PRIMARY, statement.format(when="NULL", key_id=person.key_id))


DISABLE = """
from unittest.mock import patch
from access import users
from portfolios.models import Account
with patch.object(users, "_announce"):
    users.disable_user(user_id=Account.objects.get(pk={account}).user_id, actor="test")
"""
ENABLE = """
UPDATE auth_user SET is_active = 1 WHERE id =
 (SELECT user_id FROM portfolios_account WHERE id = {account}); COMMIT
"""


@contextmanager
def disabled_unannounced(floor: Floor, person: Person) -> Iterator[None]:
    """A user whom an operator has shut out, and nobody was told."""
    floor.manage("shell", "-c", DISABLE.format(account=person.account_id))
    try:
        yield
    finally:
        floor.sql(PRIMARY, ENABLE.format(account=person.account_id))


def until_let_in(stream: ClientConnection, path: str) -> None:
    """Wait for what only who was let in is told; of trade updates that has to be asked for."""
    if path == UPDATES:
        stream.send(json.dumps({"action": "listen", "data": {"streams": ["trade_updates"]}}))
    word = {MARKET_DATA: "authenticated", UPDATES: "listening"}[path]
    deadline = time.monotonic() + OPEN_SECONDS_MAX
    while word not in str(stream.recv(max(0.0, deadline - time.monotonic()))):
        pass


def close_code_of(stream: ClientConnection, deadline: float) -> int | None:
    """Read until the server closes; TimeoutError where it does not in time."""
    try:
        while True:
            stream.recv(max(0.0, deadline - time.monotonic()))
    except ConnectionClosed as closed:
        return closed.rcvd.code if closed.rcvd else None


@pytest.mark.parametrize("shut_out", [revoked_unannounced, disabled_unannounced])
def test_who_is_shut_out_loses_all_sockets_on_every_process_though_the_news_is_lost(
    floor: Floor, shut_out: Callable[[Floor, Person], AbstractContextManager[None]]
) -> None:
    person = floor.load.people[-2]  # of the load nobody's: the last one reads
    ports = [floor.environment[f"STREAM{number}_PORT"] for number in (1, 2)]
    streams = []
    with ExitStack() as stack:
        for port, path in product(ports, (MARKET_DATA, UPDATES)):
            url, headers = f"ws://127.0.0.1:{port}/{path}", person.headers
            opened = connect(url, additional_headers=headers, open_timeout=OPEN_SECONDS_MAX)
            streams.append(stack.enter_context(opened))
            until_let_in(streams[-1], path)
        with shut_out(floor, person):
            deadline = time.monotonic() + REVOKED_SECONDS_MAX
            for stream in streams:
                assert close_code_of(stream, deadline) == REVOKED_CLOSE


@pytest.mark.long
@pytest.mark.parametrize("round_", range(ROUNDS))
def test_all_of_it_again_with_more_people(floor: Floor, round_: int) -> None:
    floor.load.grow()
    for hurt in (killed, hung, flushed):
        lose_redis(floor, hurt)
