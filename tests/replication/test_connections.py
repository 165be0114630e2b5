"""What the check at the start computes is what a process opens at most, counted by the servers."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from typing import Any, NamedTuple

import pytest
import websockets

from config.databases.start import check_connections, connections_max
from quotes.streaming import off_loop
from tests.conftest import LONG
from tests.people import Trader, a_trader
from tests.replication.cluster import FIRST, PRIMARY, SECOND, Cluster
from tests.replication.processes import ask, servers, serving
from tests.waiting import PATIENCE_SECONDS, eventually

pytest.importorskip("gunicorn", reason="NO GUNICORN: the production set is not installed")

THREADS, WORKERS = 3, 2
CALLERS = 12
REQUESTS = 500 if LONG else 50
# One of it waiting for a thread; to come in and go out, the rest. Those that run meanwhile are held
# up for as long, and the database is waited for no longer than 10 seconds.
REFUSED_SECONDS_MAX = 8.0
USER = "counted"  # of its own, so that nobody else is counted
LEARNT_SECONDS_MAX = 40.0  # a Redis without marks is distrusted first; a busy machine takes longer


@pytest.fixture
def counted(settled: Cluster) -> Iterator[Cluster]:
    settled.sql(
        PRIMARY,
        f"CREATE USER '{USER}'@'127.0.0.1' IDENTIFIED BY '{USER}';"
        f"GRANT ALL ON openbell.* TO '{USER}'@'127.0.0.1'",
    )
    user = f"SELECT COUNT(*) FROM mysql.user WHERE user = '{USER}'"
    for node in (FIRST, SECOND):
        eventually(lambda node=node: settled.sql(node, user) == "1", "the user")
    try:
        yield settled
    finally:
        settled.sql(PRIMARY, f"DROP USER '{USER}'@'127.0.0.1'")


def count(cluster: Cluster, node: int) -> int:
    asked = f"SELECT COUNT(*) FROM information_schema.processlist WHERE user = '{USER}'"
    return int(cluster.sql(node, asked))


def headers(trader: Trader) -> list[str]:
    return [f"{name}: {value}" for name, value in trader.headers.items()]


@contextmanager
def crowd(port: int, trader: Trader) -> Iterator[None]:
    """More callers than threads: each asks the primary, and whatever serves a reader."""
    stop = threading.Event()

    def call() -> None:
        while not stop.is_set():
            ask(port, "/readyz")
            ask(port, "/v2/orders", *headers(trader))

    callers = [threading.Thread(target=call) for _ in range(CALLERS)]
    for caller in callers:
        caller.start()
    try:
        yield
    finally:
        stop.set()
        for caller in callers:
            caller.join(20)


async def knock(port: int, trader: Trader, times: int) -> None:
    """Sockets that log in with keys that nobody has: each is looked up in the database.

    And one that is let in, until the process has looked after it.
    """

    async def once(number: int) -> None:
        async with websockets.connect(f"ws://127.0.0.1:{port}/stream") as socket:
            key = "OB" + chr(ord("A") + number) * 18
            await socket.send(f'{{"action":"auth","key":"{key}","secret":"none"}}')
            await asyncio.wait_for(socket.recv(), 10)

    async def let_in() -> None:
        url = f"ws://127.0.0.1:{port}/stream?honest=1"
        async with websockets.connect(url, additional_headers=trader.headers) as socket:
            for _ in range(6):  # heartbeats: between the last ones everybody was looked after
                await asyncio.wait_for(socket.recv(), 20)

    await asyncio.gather(let_in(), *(once(number) for number in range(times)))


@pytest.mark.parametrize("kind", ["web", pytest.param("stream", marks=pytest.mark.long)])
def test_a_process_opens_what_was_computed_and_never_more(
    counted: Cluster, redis_url: str, kind: str
) -> None:
    others = {"web": 0, "stream": off_loop.THREADS}[kind]
    workers = {"web": WORKERS, "stream": 1}[kind]
    trader = a_trader()
    told = {"HTTP_THREADS": str(THREADS), "WEB_WORKERS": str(WORKERS), "REDIS_URL": redis_url}
    # Each HTTP thread and, of each worker, the watch; on the primary also who serves the sockets.
    replica = workers * (THREADS + 1)
    expected = {PRIMARY: replica + workers * others, FIRST: replica, SECOND: replica}
    most = dict.fromkeys(expected, 0)

    with serving(kind, **servers(USER), **told) as port, crowd(port, trader):
        if kind == "stream":
            asyncio.run(knock(port, trader, 20))
        deadline = time.monotonic() + LEARNT_SECONDS_MAX
        while most != expected and time.monotonic() < deadline:
            most = {node: max(most[node], count(counted, node)) for node in most}
        for _ in range(3):
            most = {node: max(most[node], count(counted, node)) for node in most}

    assert most == expected
    assert sum(most.values()) == connections_max(threads=THREADS, workers=workers, others=others)


class Answer(NamedTuple):
    """The status of an answer, and how long it took."""

    status: int
    seconds: float


async def ask_at_once(
    port: int, path: str, trader: Trader, times: int, heard: Callable[[int], None]
) -> list[Answer]:
    """The answers in the order in which they come; `heard` is told how many there are by then."""
    lines = [f"GET {path} HTTP/1.1", "Host: localhost", "Connection: close", *headers(trader)]
    request = "\r\n".join([*lines, "", ""]).encode()
    answers: list[Answer] = []

    async def once() -> None:
        begun = time.monotonic()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request)
        raw = await asyncio.wait_for(reader.read(), PATIENCE_SECONDS)
        writer.close()
        answers.append(Answer(int(raw.split(b" ", 2)[1]), time.monotonic() - begun))
        heard(len(answers))

    await asyncio.gather(*(once() for _ in range(times)))
    return answers


@contextmanager
def orders_held_up(cluster: Cluster) -> Iterator[Callable[[], None]]:
    """Nobody reads an order until what this gives is called, or the block is over."""
    import MySQLdb

    holder = MySQLdb.connect(unix_socket=f"{cluster.folder}/{PRIMARY}.sock", user="root")
    with closing(holder):
        holder.query("LOCK TABLES openbell.trading_order WRITE")
        yield partial(holder.query, "UNLOCK TABLES")


def test_requests_that_the_database_holds_up_are_answered_or_refused(counted: Cluster) -> None:
    """Who runs when it is held up is answered late, everybody else is refused meanwhile."""
    trader = a_trader()
    told = {"HTTP_THREADS": str(THREADS), "REPLICA_URLS": "", "REDIS_URL": ""}

    with serving("web", **{**servers(USER), **told}) as port:
        assert "200 OK" in ask(port, "/v2/orders", *headers(trader))
        with orders_held_up(counted) as let_go:

            def let_go_once_all_others_are_refused(answered: int) -> None:
                if answered == REQUESTS - THREADS:
                    let_go()

            heard = let_go_once_all_others_are_refused
            answers = asyncio.run(ask_at_once(port, "/v2/orders", trader, REQUESTS, heard))
        assert count(counted, PRIMARY) <= THREADS
        assert "200 OK" in ask(port, "/v2/orders", *headers(trader))

    statuses = [answer.status for answer in answers]
    assert statuses == [503] * (REQUESTS - THREADS) + [200] * THREADS
    assert max(answer.seconds for answer in answers if answer.status == 503) < REFUSED_SECONDS_MAX


def test_an_instance_that_would_open_too_many_is_refused(replicated: Any) -> None:
    """Three servers: 2 × (16 × 3 + 3) is 102."""
    check_connections(threads=15, workers=2)
    with pytest.raises(Exception, match="is 102 connections; an instance may have 100"):
        check_connections(threads=16, workers=2)
