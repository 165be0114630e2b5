"""What the engine decides about an order, in memory, before settlement makes it true.

Decisions of one order are settled in the order they were made. Until then the book counts them in
already, so that nothing is decided twice.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from decimal import Decimal

from quotes.ticks import Quote, Trade
from trading.execution.matching import FillModel, Match, WorkingOrder
from trading.execution.queue import Place
from trading.models import OrderStatus

AUCTION = "auction"  # resolution of the quote that an auction's price makes: bid = ask


@dataclass(slots=True)
class Decision:
    """About one order, at a market time in microseconds."""

    order: WorkingOrder
    at_us: int

    @property
    def account_id(self) -> int:
        return self.order.account_id


@dataclass(slots=True)
class Admission(Decision):
    """The order takes its place in the book: accepted → new.

    `collar_price` is set for a market order that was queued while the market was closed: its old
    hold was a guess. `hold_price` is set with it for one that sells short.
    """

    collar_price: Decimal | None = None
    hold_price: Decimal | None = None
    reason: str = ""  # why it waits, where it does


@dataclass(slots=True)
class Trigger(Decision):
    """A stop works from now on as a market or limit order.

    `tick` is what triggered it and `price` the price of that: of a trade, or of the touch that a
    trailing stop follows. `collar_price` is set for one that becomes a market buy.
    """

    tick: Quote | Trade
    price: int
    stop: int
    mark: int  # of a trailing stop
    collar_price: Decimal | None = None
    reason: str = ""  # why it waits, where it does


@dataclass(slots=True)
class Following(Decision):
    """A trailing stop has moved: worth a note, now and then, and no event."""

    stop: int
    mark: int


@dataclass(slots=True)
class Execution(Decision):
    """The order trades with a quote."""

    quote: Quote
    match: Match
    number: int  # 1, 2, … within the order
    completes: bool
    model: FillModel
    place: Place | None = None  # of an order in line, and the trade that let it through
    _id: uuid.UUID | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def takes_displayed_size(self) -> bool:
        """Whether it took of what the quote displays; in line that happened when it was reached."""
        is_auction = self.quote.resolution == AUCTION
        return self.model is not FillModel.INSTANT and self.place is None and not is_auction

    @property
    def execution_id(self) -> uuid.UUID:
        """Derived from what happened, so that settling it again meets the unique index."""
        if self._id is None:
            name = f"{self.quote.epoch}:{self.quote.sequence}:{self.number}"
            self._id = uuid.uuid5(self.order.public_id, name)
        return self._id


@dataclass(slots=True)
class Ending(Decision):
    """The order is over for a reason of its own: what is left of an ioc, an order that failed."""

    status: OrderStatus
    reason: str
