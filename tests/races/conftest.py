from __future__ import annotations

import pytest

from portfolios.models import Account
from tests.portfolios.factories import funded_account
from tests.trading.floor import TradingFloor


@pytest.fixture
def floor() -> TradingFloor:
    """A market that stands at 99 to 100."""
    floor = TradingFloor()
    floor.show()
    return floor


@pytest.fixture
def account(floor: TradingFloor) -> Account:
    return funded_account("10000")
