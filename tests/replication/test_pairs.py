"""Whoever changed an account, or was told of a change, sees it, however far replicas lag."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any, NamedTuple

import pytest
from django.core.cache import caches
from django.db import connections
from django.db.models import Model
from django.test import Client

from config.databases import health
from portfolios.accounts import deposit
from portfolios.models import Account
from tests.people import a_trader
from tests.replication.cluster import FIRST, SECOND, Cluster
from tests.replication.conftest import wait_until
from tests.streams import Client as Socket
from tests.streams import connected, threads_of_its_own
from tests.trading.floor import TradingFloor
from trading.models import Order

LAG_SECONDS = 2
PAIRS = [100, pytest.param(10_000, marks=pytest.mark.long)]
FILLS_PER_SCREEN = 100
LISTEN = {"action": "listen", "data": {"streams": ["trade_updates"]}}


@pytest.fixture
def lagging(settled: Cluster, settings: Any) -> Cluster:
    """Replicas that are read from, and tell what was true two seconds ago."""
    settings.REPLICA_LAG_MAX_SECONDS = 5
    for node in (FIRST, SECOND):
        settled.delay(node, LAG_SECONDS)
    return settled


def await_arrival(model: type[Model], which: dict[str, Any]) -> None:
    """Return once both replicas are read from and know the row."""
    wait_until(lambda: len(health.usable_replicas()) == 2)
    for alias in health.usable_replicas():
        wait_until(lambda at=alias: model._default_manager.using(at).filter(**which).exists())


def forget_marks(account: Account) -> None:
    """As if all that happened to the account were long ago."""
    caches["state"].delete(f"pin:{account.pk}")


def cash(client: Client) -> Decimal:
    return Decimal(client.get("/v2/account").json()["cash"])


@pytest.mark.parametrize("pairs", PAIRS)
def test_a_write_is_seen_by_the_next_read(lagging: Cluster, pairs: int) -> None:
    trader = a_trader(cash="1000")
    client = trader.client()

    for number in range(1, pairs + 1):
        deposit(account_id=trader.account.pk, amount=Decimal(1), actor="test")
        assert cash(client) == 1_000 + number

    await_arrival(Account, {"pk": trader.account.pk})
    deposit(account_id=trader.account.pk, amount=Decimal(1), actor="test")
    forget_marks(trader.account)
    assert cash(client) <= 1_000 + pairs  # but for the mark


class Seen(NamedTuple):
    """What a screen finds when it asks again."""

    cash: Decimal
    held: Decimal
    filled: Decimal


class Screen:
    """A browser with an order that fills share by share: it hears of each, and asks again."""

    def __init__(self, floor: TradingFloor, socket: Socket) -> None:
        self.floor, self.socket = floor, socket
        self.trader = a_trader()
        self.client = self.trader.client()
        self.cash = Decimal(100_000)
        self.filled = 0

    def place(self) -> Order:
        return self.floor.buy(self.trader.account, str(FILLS_PER_SCREEN), limit="100")

    async def listen(self) -> None:
        key = {"key_id": self.trader.key_id, "secret_key": self.trader.secret}
        await self.socket.ask({"action": "authenticate", "data": key})
        assert (await self.socket.ask(LISTEN))["stream"] == "listening"

    async def hear_fill(self) -> dict[str, Any]:
        while True:
            update: dict[str, Any] = (await self.socket.hear())["data"]
            if update["event"] in ("partial_fill", "fill"):
                return update

    def fill_one(self) -> None:
        """One share changes hands, long after the order was placed."""
        forget_marks(self.trader.account)
        price = 99 + self.filled % 2  # another one each time, so that all of its size is fresh
        self.filled += 1
        self.cash -= price
        self.floor.show("90", str(price), ask_size=1)

    def refetch(self, order_id: str) -> Seen:
        account = self.client.get("/v2/account").json()
        positions = self.client.get("/v2/positions").json()
        order = self.client.get(f"/v2/orders/{order_id}").json()
        held = sum((Decimal(each["qty"]) for each in positions), Decimal(0))
        return Seen(Decimal(account["cash"]), held, Decimal(order["filled_qty"]))

    @property
    def truth(self) -> Seen:
        return Seen(self.cash, Decimal(self.filled), Decimal(self.filled))


class House:
    """The engine in one thread, browsers in another, beside the loop that the sockets are on."""

    def __init__(self, floor: TradingFloor) -> None:
        self.floor = floor
        self._engine = ThreadPoolExecutor(1, "engine")
        self._browser = ThreadPoolExecutor(1, "browser")

    async def engine(self, work: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._engine, work, *arguments)

    async def browser(self, work: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._browser, work, *arguments)

    @asynccontextmanager
    async def screen(self) -> AsyncIterator[Screen]:
        """A screen that listens, and its order at work."""
        from config.asgi import websocket

        async with connected(websocket, path="/stream") as socket:
            screen = await self.browser(Screen, self.floor, socket)
            await screen.listen()
            await self.engine(screen.place)
            yield screen

    async def fill_and_refetch(self, screen: Screen) -> Seen:
        """What the screen sees when it asks the moment it hears, while the engine goes on."""
        filling = asyncio.ensure_future(self.engine(screen.fill_one))
        update = await screen.hear_fill()
        seen = await self.browser(screen.refetch, update["order"]["id"])
        await filling
        assert isinstance(seen, Seen)
        return seen

    def close(self) -> None:
        for thread in (self._engine, self._browser):
            thread.submit(connections.close_all).result()
            thread.shutdown()


@pytest.fixture
def house(lagging: Cluster) -> Iterator[House]:
    floor = TradingFloor()
    house = House(floor)
    with threads_of_its_own():
        try:
            yield house
        finally:
            house.close()
            floor.restart()  # gives the lease back


@pytest.mark.parametrize("pairs", PAIRS)
async def test_a_fill_is_seen_by_a_screen_that_hears_of_it(house: House, pairs: int) -> None:
    for _ in range(pairs // FILLS_PER_SCREEN):
        async with house.screen() as screen:
            for _ in range(FILLS_PER_SCREEN):
                assert await house.fill_and_refetch(screen) == screen.truth


async def test_without_its_mark_a_fill_would_not_be_seen(house: House, settings: Any) -> None:
    settings.AFTER_COMMIT = ""
    async with house.screen() as screen:
        await house.browser(await_arrival, Order, {"account": screen.trader.account})

        assert await house.fill_and_refetch(screen) == Seen(*map(Decimal, (100_000, 0, 0)))
