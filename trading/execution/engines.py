"""Which engine a market takes."""

from __future__ import annotations

from events.leases import Lease
from quotes.clock import market_clock
from quotes.models import MarketClock
from trading.execution.engine import Engine
from trading.execution.matching import FillModel
from trading.execution.shards import WHOLE, Shard
from trading.execution.stepped import SteppedEngine


def engine_for(
    lease: Lease, model: FillModel = FillModel.NBBO, lanes: int = 1, shard: Shard = WHOLE
) -> Engine:
    """The engine of the market that is open, loaded; whoever has it closes it."""
    is_stepped = market_clock().mode == MarketClock.Mode.STEPPED
    engine = (SteppedEngine if is_stepped else Engine)(lease, model, lanes, shard)
    try:
        engine.load()
    except BaseException:
        engine.close()
        raise
    return engine
