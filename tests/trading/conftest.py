from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.test import Client

from portfolios.models import Account
from quotes.clock import forget_clock
from quotes.latest import forget_latest
from quotes.streaming.bus import forget_bus
from tests.people import Trader, a_trader
from tests.portfolios.factories import funded_account
from tests.trading.floor import TradingFloor
from tests.trading.update_clients import nothing_left, whole_app


@pytest.fixture
def floor(db: None) -> TradingFloor:
    """A market that stands at 99 to 100."""
    floor = TradingFloor()
    floor.show()
    return floor


@pytest.fixture
def account(floor: TradingFloor) -> Account:
    return funded_account("100000")


@pytest.fixture
def trader() -> Trader:
    """A user with one funded account and one key to it."""
    return a_trader()


@pytest.fixture
def operator() -> Client:
    """The browser of a superuser without an account."""
    client = Client()
    client.force_login(get_user_model().objects.create_superuser("boss"))
    return client


@pytest.fixture
def app() -> Any:
    return whole_app()


@pytest.fixture
async def alone() -> AsyncIterator[None]:
    """Streams have threads of their own, and in the end nothing is left of any."""
    with nothing_left():
        yield
        await asyncio.sleep(0)


@pytest.fixture(autouse=True)
def market_without_memory() -> Iterator[None]:
    """No test knows the time, the prices or the messages of another."""
    forget_market()
    yield
    forget_market()


def forget_market() -> None:
    """Know neither the time, the prices nor the messages of the market before."""
    forget_clock()
    forget_latest()
    forget_bus()
