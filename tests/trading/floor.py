"""A trading floor for tests: a market that stands until a test moves it, and the real engine."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from events.leases import Lease, acquire
from portfolios.models import Account
from quotes import latest
from quotes.amounts import PRICE_PLACES, to_units
from quotes.clock import market_clock
from quotes.models import Instrument, MarketClock
from quotes.streaming.bus import TICK_TOPICS
from quotes.tick_history.store import insert
from quotes.ticks import Amendment, Batch, Quote, Trade, to_micros
from tests.portfolios.factories import make_instrument, new_york
from tests.waiting import PATIENCE_SECONDS
from trading import orders
from trading.execution.engine import Engine
from trading.execution.engines import engine_for
from trading.execution.matching import FillModel
from trading.models import Order, OrderType, Side, TimeInForce
from trading.replacing import Changes, replace_order
from trading.request import OrderRequest

NOON = new_york("2013-10-07 12:00")  # a Monday
MORNING = new_york("2013-10-07 08:00")
OPENING = new_york("2013-10-07 09:30")
CLOSE = new_york("2013-10-07 16:00")


class TradingFloor:
    """One stepped market with one instrument, AAPL at 99 to 100 unless told otherwise."""

    def __init__(
        self,
        at: datetime = NOON,
        model: FillModel = FillModel.NBBO,
        lanes: int = 1,
        keeps_history: bool = False,
    ) -> None:
        self.instrument: Instrument = make_instrument("AAPL", name="Apple")
        self.model = model
        self.lanes = lanes
        self.keeps_history = keeps_history
        self.sequence = 0
        row, _ = MarketClock.objects.update_or_create(
            pk=1,
            defaults={
                "mode": MarketClock.Mode.STEPPED,
                "source": "lean-test",
                "watermark_us": to_micros(at),
                "settled_us": to_micros(at),
                "advance_to_us": to_micros(at),
            },
        )
        market_clock().follow(row)
        self._engine: Engine | None = None

    @property
    def engine(self) -> Engine:
        """The engine, started when it is first needed."""
        if self._engine is None:
            lease = acquire("execution:0")
            assert lease is not None
            self._engine = engine_for(lease, self.model, self.lanes)
        return self._engine

    def restart(self) -> None:
        """The engine's process dies and another takes over."""
        if self._engine is not None:
            self._engine.pending.lease.release()
            self._engine.close()
        self._engine = None

    # --- the market -----------------------------------------------------------------------------

    def quote(
        self,
        bid: str = "99",
        ask: str = "100",
        bid_size: int = 1_000,
        ask_size: int = 1_000,
        symbol: str = "AAPL",
        at: datetime | None = None,
    ) -> Quote:
        """The next quote of the tape, not yet played."""
        self.sequence += 1
        at_us = to_micros(at) if at else market_clock().now_us() + 1_000
        prices = [to_units(Decimal(price), PRICE_PLACES) for price in (bid, ask)]
        return Quote(
            symbol, at_us, prices[0], bid_size, prices[1], ask_size, self.sequence, 1, at_us
        )

    def trade(
        self,
        price: str,
        size: int = 100,
        at: datetime | None = None,
        symbol: str = "AAPL",
        **fields: Any,
    ) -> Trade:
        """The next trade of the tape, not yet played."""
        self.sequence += 1
        at_us = to_micros(at) if at else market_clock().now_us() + 1_000
        units = to_units(Decimal(price), PRICE_PLACES)
        return Trade(symbol, at_us, units, size, self.sequence, 1, **fields)

    def print_trade(self, price: str) -> None:
        """Let this be the last trade, without moving the market."""
        self.sequence += 1
        at_us = market_clock().now_us()
        units = to_units(Decimal(price), PRICE_PLACES)
        latest.put_many([Trade("AAPL", at_us, units, 100, self.sequence, 1)])

    def prints(self, price: str, size: int = 100, **fields: Any) -> None:
        """Play one trade."""
        self.play(self.trade(price, size, **fields))

    def play(
        self,
        *ticks: Quote | Trade,
        until: datetime | None = None,
        amendments: tuple[Amendment, ...] = (),
    ) -> None:
        """Advance the market over these ticks, as feed and engine do it together."""
        last_us = max((tick.at_us for tick in ticks), default=market_clock().now_us() + 1_000)
        watermark_us = to_micros(until) if until else last_us
        engine = self.engine  # up before the market moves
        MarketClock.objects.filter(pk=1).update(
            advance_to_us=watermark_us, watermark_us=watermark_us
        )
        self.publish(*ticks, *(each.last for each in amendments if each.last))
        batch = Batch(tuple(ticks), watermark_us, epoch=1, amendments=amendments)
        engine.run_once([(TICK_TOPICS[0], batch)])
        market_clock().refresh()

    def publish(self, *ticks: Quote | Trade) -> None:
        """Let them be known, though no engine hears them."""
        latest.put_many(ticks)
        if self.keeps_history:
            insert(ticks, {"AAPL": self.instrument.pk})

    def show(self, bid: str = "99", ask: str = "100", **sizes: Any) -> None:
        """Play one quote."""
        self.play(self.quote(bid, ask, **sizes))

    def pass_time(self, **duration: float) -> None:
        """Advance the market without a tick."""
        self.play(until=market_clock().now() + timedelta(**duration))

    # --- orders ---------------------------------------------------------------------------------

    def place(self, account: Account, side: str, quantity: str | None, **fields: Any) -> Order:
        """Submit an order: a limit order where a `limit` is given, else a market order."""
        market_clock().heard()  # on a slow machine too the market only stands, it is not silent
        limit = fields.pop("limit", None)
        request = OrderRequest(
            symbol="AAPL",
            side=Side(side),
            type=OrderType.MARKET if limit is None else OrderType.LIMIT,
            time_in_force=TimeInForce.DAY,
            quantity=None if quantity is None else Decimal(quantity),
            limit_price=None if limit is None else Decimal(limit),
        )
        return orders.submit(
            account_id=account.pk, request=replace(request, **fields), actor="test"
        )

    def buy(self, account: Account, quantity: str | None, **fields: Any) -> Order:
        return self.place(account, "buy", quantity, **fields)

    def sell(self, account: Account, quantity: str | None, **fields: Any) -> Order:
        return self.place(account, "sell", quantity, **fields)


def change(order: Order, **changes: Any) -> Order:
    """Replace the order; what replaces it."""
    exact: dict[str, Any] = {
        name: value if name in ("client_order_id", "time_in_force") else Decimal(value)
        for name, value in changes.items()
    }
    return replace_order(
        account_id=order.account_id,
        order_id=order.public_id,
        changes=Changes(**exact),
        actor="test",
    )


def now_of(order: Order) -> Order:
    """The order as the database has it."""
    return Order.objects.select_related("instrument").get(pk=order.pk)


@contextmanager
def watching(
    watch: Callable[[Lease, threading.Event], None], lease: Lease
) -> Iterator[threading.Thread]:
    """What an engine's process lets run beside it, in a thread that ends with the block."""
    stop = threading.Event()
    thread = threading.Thread(target=watch, args=(lease, stop))
    thread.start()
    try:
        yield thread
    finally:
        stop.set()
        thread.join(PATIENCE_SECONDS)
        assert not thread.is_alive()
