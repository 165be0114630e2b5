from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.contrib.auth import get_user_model
from django.test import Client

from portfolios.models import Account
from quotes.clock import forget_clock
from quotes.latest import forget_latest
from quotes.streaming.bus import forget_bus
from tests.portfolios.factories import funded_account
from tests.trading.floor import TradingFloor


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
def operator() -> Client:
    """The browser of a superuser without an account."""
    client = Client()
    client.force_login(get_user_model().objects.create_superuser("boss"))
    return client


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
