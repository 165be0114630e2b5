"""Corporate actions as the engine meets them: when the next one is due, what it does on the floor,
and the prices that a split leaves behind."""

from __future__ import annotations

from collections.abc import Callable

from quotes import corporate_actions, latest
from quotes.clock import WALL_MODES, Clock
from quotes.splits import BEGUN, Split, splits_of
from quotes.ticks import Quote, Trade, to_instant, to_micros
from trading import corporate_actions as carrying
from trading.execution.agreement import Agreement
from trading.execution.floor import NEVER, Floor
from trading.execution.intake import Listing


class Actions:
    """The corporate actions of one shard's instruments."""

    def __init__(self, floor: Floor, listing: Listing, agreement: Agreement, clock: Clock) -> None:
        self._floor = floor
        self._listing = listing
        self._agreement = agreement
        self._clock = clock

    def refresh(self) -> None:
        """Find out when the shard's next one is due; on wall time only the beginning of splits is
        the engine's. What was split has no price until the market says one."""
        at = corporate_actions.next_due_at(
            self._listing.by_id.keys(), splits_to_begin=self._clock.mode in WALL_MODES
        )
        self._floor.action_us = NEVER if at is None else to_micros(at)
        for split in _splits(self._listing):
            self._floor.standing.forget_before(split.symbol, split.at_us)

    def carry_out(self, moment_us: int, between: Callable[[], None]) -> None:
        """Do what is due at that market time; afterwards the listing is to be read again."""
        moment, ids = to_instant(moment_us), self._listing.by_id.keys()
        if self._clock.mode in WALL_MODES:
            corporate_actions.begin_splits(moment, ids, actor=carrying.ACTOR)
        else:
            for pk in carrying.carry_out(moment, ids, between=between):
                self._agreement.forget(pk)


def latest_ticks(listing: Listing) -> tuple[list[Quote], list[Trade]]:
    """The newest quotes of all symbols, and their last prices, be they canceled; but none from
    before a split."""
    split_us = {split.symbol: split.at_us for split in _splits(listing)}
    newest = latest.get_many(sorted(listing.symbols.values()), with_canceled=True).values()
    quotes = [one.quote for one in newest if one.quote is not None]
    trades = [one.trade for one in newest if one.trade is not None]
    return (
        [quote for quote in quotes if quote.at_us >= split_us.get(quote.symbol, 0)],
        [trade for trade in trades if trade.at_us >= split_us.get(trade.symbol, 0)],
    )


def _splits(listing: Listing) -> list[Split]:
    return splits_of(listing.symbols.keys(), BEGUN)
