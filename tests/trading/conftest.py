from __future__ import annotations

from collections.abc import Iterator

import pytest

from quotes.clock import forget_clock
from quotes.latest import forget_latest
from quotes.streaming.bus import forget_bus


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
