from __future__ import annotations

from collections.abc import Iterator

import pytest

from access.lookups import forget_everyone
from quotes.clock import forget_clock
from quotes.latest import forget_latest


@pytest.fixture(autouse=True)
def nothing_remembered() -> Iterator[None]:
    """No test knows the time, the prices or the people of another."""
    _forget()
    yield
    _forget()


def _forget() -> None:
    forget_clock()
    forget_latest()
    forget_everyone()
