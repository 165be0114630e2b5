"""Whoever changed an account, or was told of a change, sees it, however far replicas lag."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
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
from quotes.ticks import Quote
from tests.people import a_trader
from tests.portfolios.factories import make_instrument
from tests.replication.cluster import FIRST, SECOND, Cluster
from tests.streams import Client as Socket
from tests.streams import connected, threads_of_its_own
from tests.trading.floor import TradingFloor
from tests.waiting import eventually
from trading.models import Order

LAG_SECONDS = 2
PAIRS = [100, pytest.param(10_000, marks=pytest.mark.long)]
SCREENS = 10
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
    eventually(lambda: len(health.usable_replicas()) == 2, "both replicas to be read from")
    for alias in health.usable_replicas():
        rows = model._default_manager.using(alias).filter(**which)
        eventually(rows.exists, f"the row on {alias}")


def forget_marks(account: Account) -> None:
    """As if all that happened to the account were long ago."""
    caches["state"].delete(f"pin:{account.pk}")


def ask(client: Client, path: str) -> Any:
    """What is answered. On a machine that is full a server may say 503, which shows nothing old."""
    answers: list[Any] = []

    def is_answered() -> bool:
        answers.append(client.get(path))
        return bool(answers[-1].status_code != 503)

    eventually(is_answered, f"{path} to be answered")
    return answers[-1].json()


def cash(client: Client) -> Decimal:
    return Decimal(ask(client, "/v2/account")["cash"])


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

    def __init__(self, floor: TradingFloor, socket: Socket, number: int) -> None:
        self.floor, self.socket = floor, socket
        self.symbol = make_instrument(f"PAIR{number}").symbol
        self.trader = a_trader()
        self.client = self.trader.client()
        self.cash = Decimal(100_000)
        self.filled = 0

    def place(self, quantity: int) -> Order:
        account, symbol = self.trader.account, self.symbol
        return self.floor.buy(account, str(quantity), limit="100", symbol=symbol)

    async def listen(self) -> None:
        key = {"key_id": self.trader.key_id, "secret_key": self.trader.secret}
        await self.socket.ask({"action": "authenticate", "data": key})
        assert (await self.socket.ask(LISTEN))["stream"] == "listening"

    async def hear_fill(self) -> dict[str, Any]:
        while True:
            update: dict[str, Any] = (await self.socket.hear())["data"]
            if update["event"] in ("partial_fill", "fill"):
                return update

    def offer(self) -> Quote:
        """The quote that fills one more share."""
        price = 99 + self.filled % 2  # another one each time, so that all of its size is fresh
        self.filled += 1
        self.cash -= price
        return self.floor.quote("90", str(price), ask_size=1, symbol=self.symbol)

    def refetch(self, order_id: str) -> Seen:
        account = ask(self.client, "/v2/account")
        positions = ask(self.client, "/v2/positions")
        order = ask(self.client, f"/v2/orders/{order_id}")
        held = sum((Decimal(each["qty"]) for each in positions), Decimal(0))
        return Seen(Decimal(account["cash"]), held, Decimal(order["filled_qty"]))

    @property
    def truth(self) -> Seen:
        return Seen(self.cash, Decimal(self.filled), Decimal(self.filled))


class House:
    """The engine in one thread, browsers in others, beside the loop that the sockets are on."""

    def __init__(self, floor: TradingFloor) -> None:
        self.floor = floor
        self._engine = ThreadPoolExecutor(1, "engine")
        self._browsers = [ThreadPoolExecutor(1, f"browser{number}") for number in range(2)]

    async def engine(self, work: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._engine, work, *arguments)

    async def browser(self, number: int, work: Callable[..., Any], *arguments: Any) -> Any:
        thread = self._browsers[number % len(self._browsers)]
        return await asyncio.get_running_loop().run_in_executor(thread, work, *arguments)

    @asynccontextmanager
    async def screens(self, count: int, fills: int) -> AsyncIterator[list[Screen]]:
        """Screens that listen, with an order at work each."""
        from config.asgi import websocket

        async with AsyncExitStack() as stack:
            screens = []
            for number in range(count):
                socket = await stack.enter_async_context(connected(websocket, path="/stream"))
                screen: Screen = await self.engine(Screen, self.floor, socket, number)
                await screen.listen()
                await self.engine(screen.place, fills)
                screens.append(screen)
            yield screens

    async def fill_and_refetch(self, screens: list[Screen]) -> list[Seen]:
        """What each screen sees when it asks the moment it hears, while the engine goes on."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.engine(self._fill_one_each, screens))
            seen = [
                tasks.create_task(self._refetch_on_news(number, screen))
                for number, screen in enumerate(screens)
            ]
        return [each.result() for each in seen]

    def _fill_one_each(self, screens: list[Screen]) -> None:
        """One share of each changes hands, long after the orders were placed."""
        for screen in screens:
            forget_marks(screen.trader.account)
        self.floor.play(*[screen.offer() for screen in screens])

    async def _refetch_on_news(self, number: int, screen: Screen) -> Seen:
        update = await screen.hear_fill()
        seen: Seen = await self.browser(number, screen.refetch, update["order"]["id"])
        return seen

    def close(self) -> None:
        for thread in (self._engine, *self._browsers):
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
    fills = pairs // SCREENS
    async with house.screens(SCREENS, fills) as screens:
        for _ in range(fills):
            seen = await house.fill_and_refetch(screens)
            assert seen == [screen.truth for screen in screens]


async def test_without_its_mark_a_fill_would_not_be_seen(house: House, settings: Any) -> None:
    settings.AFTER_COMMIT = ""
    async with house.screens(1, 1) as screens:
        await house.engine(await_arrival, Order, {"account": screens[0].trader.account})

        seen = await house.fill_and_refetch(screens)
        assert seen == [Seen(*map(Decimal, (100_000, 0, 0)))]
