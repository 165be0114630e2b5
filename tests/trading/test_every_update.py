"""Every event of an order, made by real orders on the real engine, as the official client reads it
from the stream."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any
from unittest.mock import patch

import pytest
from alpaca.trading.models import TradeUpdate
from django.db import connections

from events.models import Event
from quotes.streaming import limits
from tests.people import Trader
from tests.streams import Client, connected, threads_of_its_own
from tests.trading.exits import bracket, family
from tests.trading.floor import CLOSE, MORNING, OPENING, TradingFloor
from tests.trading.update_clients import hears_nothing_else
from trading import orders
from trading.execution import settlement
from trading.models import Order, OrderStatus, TimeInForce
from trading.replacing import Changes, replace_order
from trading.states import TERMINAL, TRANSITIONS
from trading.wire import EVENT_KIND

pytestmark = pytest.mark.django_db(transaction=True)

NAMED_OTHERWISE = {"partially_filled": "partial_fill", "filled": "fill"}
# A leg whose sibling was filled in part is restated: it keeps its status and loses quantity.
EVERY_EVENT = {NAMED_OTHERWISE.get(each, str(each)) for each in TRANSITIONS} | {"restated"}
Step = Callable[[], Any]


class Day:
    """A trader's day on a market that stands between the steps: whatever can happen to orders."""

    def __init__(self, trader: Trader) -> None:
        self.trader, self.account = trader, trader.account
        self.floor = TradingFloor(MORNING)
        self.floor.print_trade("100")

    def steps(self) -> list[Step]:
        return [
            self.is_rejected_at_the_opening,
            self.is_filled_in_two,
            self.is_canceled,
            self.is_replaced,
            self.enters_with_exits,
            self.cannot_be_settled,
            self.lives_until_the_close,
        ]

    def is_rejected_at_the_opening(self) -> None:
        self.floor.buy(self.account, "900")
        self.floor.play(self.floor.quote("199", "200", at=OPENING))

    def is_filled_in_two(self) -> None:
        self.floor.buy(self.account, "20", limit="101")
        self.floor.show("99", "100", ask_size=15)
        self.floor.show("99", "100.50", ask_size=15)

    def is_canceled(self) -> None:
        order = self.floor.buy(self.account, "1", limit="40")
        self.floor.show()
        orders.cancel(account_id=self.account.pk, order_id=order.public_id, actor="test")

    def is_replaced(self) -> None:
        order = self.floor.buy(self.account, "1", limit="41")
        self.floor.show()
        replace_order(
            account_id=self.account.pk,
            order_id=order.public_id,
            changes=Changes(limit_price=Decimal(42)),
            actor="test",
        )
        self.floor.show()

    def enters_with_exits(self) -> None:
        """Half of the exit is filled, so the other exit is for the rest."""
        order = bracket(self.floor, self.account, "10", time_in_force=TimeInForce.GTC)
        self.floor.pass_time(seconds=1)
        self.floor.show("111", "112", bid_size=6)
        assert [leg.quantity for leg in family(order)[1:]] == [10, 4]
        self.floor.show("111.10", "112", bid_size=6)

    def cannot_be_settled(self) -> None:
        self.floor.buy(self.account, "1")
        with patch.object(settlement.positions, "apply_execution", side_effect=ValueError("a bug")):
            self.floor.pass_time(seconds=1)

    def lives_until_the_close(self) -> None:
        self.floor.buy(self.account, "1", limit="43")
        self.floor.play(until=CLOSE + timedelta(hours=1))
        self.floor.restart()


@pytest.fixture
def desk() -> Iterator[Callable[[Step], Any]]:
    """Runs a step in the one thread where the trader and the engine are."""
    with ThreadPoolExecutor(1) as thread:
        yield lambda step: asyncio.get_running_loop().run_in_executor(thread, step)
        thread.submit(connections.close_all).result()


@pytest.fixture
async def client(trader: Trader, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Client]:
    """A socket of the whole application that listens to the trader's updates."""
    from config.asgi import websocket

    monkeypatch.setattr(limits, "FAILURE_DELAY_SECONDS_MAX", 0.0)
    key = {"key_id": trader.key_id, "secret_key": trader.secret}
    with threads_of_its_own():
        async with connected(websocket, path="/stream") as client:
            await client.ask({"action": "authenticate", "data": key})
            await client.ask({"action": "listen", "data": {"streams": ["trade_updates"]}})
            yield client


async def updates_and_no_more(client: Client, trader: Trader, count: int) -> list[dict[str, Any]]:
    heard = [await client.hear() for _ in range(count)]
    await hears_nothing_else(client, trader.account)
    assert {each["stream"] for each in heard} == {"trade_updates"}
    return [each["data"] for each in heard]


def written(trader: Trader) -> int:
    """How many updates there have been, by the order of the log."""
    return Event.objects.filter(account_id=trader.account.pk, kind__startswith=EVENT_KIND).count()


async def test_the_official_client_reads_every_event_there_is(
    client: Client, trader: Trader, desk: Callable[[Step], Any]
) -> None:
    day = await desk(lambda: Day(trader))
    for step in day.steps():
        await desk(step)
    told = await updates_and_no_more(client, trader, await desk(lambda: written(trader)))

    assert {each["event"] for each in told} == EVERY_EVENT
    of_order: dict[Any, list[TradeUpdate]] = defaultdict(list)
    for update in (TradeUpdate(**each) for each in told):
        assert update.timestamp == update.order.updated_at
        assert (update.execution_id is not None) == (update.event in ("fill", "partial_fill"))
        of_order[update.order.id].append(update)
    stored = await desk(lambda: {each.public_id: each for each in Order.objects.all()})
    assert of_order.keys() == stored.keys()
    for order_id, updates in of_order.items():
        assert_one_life(updates, stored[order_id])


def assert_one_life(updates: list[TradeUpdate], order: Order) -> None:
    """What was told of an order: each step is legal, nothing is missing or follows its end."""
    statuses = [str(update.order.status.value) for update in updates]
    for update, status in zip(updates, statuses, strict=True):
        named = NAMED_OTHERWISE.get(status, status)
        assert update.event == named or (update.event, named) == ("restated", "new")
    for before, after in pairwise(updates):
        assert before.timestamp <= after.timestamp
        came, went = (OrderStatus(each.order.status.value) for each in (before, after))
        assert went in TRANSITIONS[came] or (after.event, came) == ("restated", went)
    assert not TERMINAL.intersection(statuses[:-1])

    last = updates[-1].order
    assert (last.status.value, Decimal(last.filled_qty)) == (order.status, order.filled_quantity)
    fills = [update for update in updates if update.execution_id is not None]
    assert sum(Decimal(str(fill.qty)) for fill in fills) == order.filled_quantity
    assert len({fill.execution_id for fill in fills}) == len(fills) == order.fill_count
    assert all(fill.price and fill.position_qty is not None for fill in fills)
