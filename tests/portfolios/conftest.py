from __future__ import annotations

from collections.abc import Iterator

import pytest

from quotes.clock import forget_clock
from quotes.latest import forget_latest


@pytest.fixture(autouse=True)
def market_without_memory() -> Iterator[None]:
    """No test knows the time or the prices of another."""
    forget_clock()
    forget_latest()
    yield
    forget_clock()
    forget_latest()
