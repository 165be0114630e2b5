"""What the sale condition of a recorded trade means: does it set a price, does it count as volume?

LEAN writes a trade's conditions as a hexadecimal number of flags. Their meaning and the rule are
facts of its makers, found to hold in the data (see `quotes.bars.Aggregator` for how well):

- The flags: `TradeConditionFlags` of QuantConnect/LEAN, described in its `Data/equity/readme.md`.
- The rule: "Data Preparation, Bar Building" in QuantConnect's documentation of US equities. An
  excluded trade counts as volume but sets no price. Excluded is a suspicious one, and one that has
  none of the included flags (regular, cash, next day, form T, extended hours, opening and closing
  prints, official open and close) and at least one of the excluded (intermarket sweep, trade
  through exempt, odd lot).
- Two things are as in the data and not as in that page. Official open and close set no price and
  count no volume: they repeat an auction that has printed, for SPY with its whole 3,166,418 shares.
  And trades of FINRA members set prices like all others; with them left out, not half of the bars
  agree.

To clients the conditions go out in the letters of the consolidated tape.
"""

from __future__ import annotations

from enum import IntFlag
from functools import lru_cache
from typing import NamedTuple

from quotes.ticks import CLOSE, OPEN


class SaleCondition(IntFlag):
    """LEAN's flags, in the order of their bits."""

    REGULAR = 1 << 0
    CASH = 1 << 1
    NEXT_DAY = 1 << 2
    SELLER = 1 << 3
    YELLOW_FLAG = 1 << 4
    INTERMARKET_SWEEP = 1 << 5
    OPENING_PRINTS = 1 << 6
    CLOSING_PRINTS = 1 << 7
    REOPENING_PRINTS = 1 << 8
    DERIVATIVELY_PRICED = 1 << 9
    FORM_T = 1 << 10
    SOLD = 1 << 11
    STOPPED = 1 << 12
    EXTENDED_HOURS = 1 << 13
    OUT_OF_SEQUENCE = 1 << 14
    SPLIT = 1 << 15
    ACQUISITION = 1 << 16
    BUNCHED = 1 << 17
    STOCK_OPTION = 1 << 18
    DISTRIBUTION = 1 << 19
    AVERAGE_PRICE = 1 << 20
    CROSS = 1 << 21
    PRICE_VARIATION = 1 << 22
    RULE_155 = 1 << 23
    OFFICIAL_CLOSE = 1 << 24
    PRIOR_REFERENCE_PRICE = 1 << 25
    OFFICIAL_OPEN = 1 << 26
    CAP_ELECTION = 1 << 27
    AUTO_EXECUTION = 1 << 28
    TRADE_THROUGH_EXEMPT = 1 << 29
    UNDOCUMENTED = 1 << 30
    ODD_LOT = 1 << 31


OFFICIAL = SaleCondition.OFFICIAL_OPEN | SaleCondition.OFFICIAL_CLOSE
OPENING = SaleCondition.OPENING_PRINTS | SaleCondition.OFFICIAL_OPEN
CLOSING = SaleCondition.CLOSING_PRINTS | SaleCondition.OFFICIAL_CLOSE
INCLUDED = (
    SaleCondition.REGULAR
    | SaleCondition.CASH
    | SaleCondition.NEXT_DAY
    | SaleCondition.FORM_T
    | SaleCondition.EXTENDED_HOURS
    | SaleCondition.OPENING_PRINTS
    | SaleCondition.CLOSING_PRINTS
)
EXCLUDED = (
    SaleCondition.INTERMARKET_SWEEP
    | SaleCondition.TRADE_THROUGH_EXEMPT
    | SaleCondition.ODD_LOT
)  # fmt: skip

# Letters of the UTP plan, by bit; a blank where the tape has a field of its own or none any more.
LETTERS = "@CNRYFO654TL1TZSABVDWXHKMPQ E  I"


class Meaning(NamedTuple):
    """What follows from a condition code."""

    letters: tuple[str, ...]
    sets_price: bool
    counts_volume: bool


@lru_cache(maxsize=4096)  # a day knows some dozens of codes
def meaning(code: str, suspicious: bool = False) -> Meaning:
    """What LEAN's condition code says; ValueError where it is no hexadecimal number.

    An empty code, as in data of before 2007, is a trade without conditions.
    """
    flags = SaleCondition(int(code or "0", 16) & 0xFFFFFFFF)
    priced = bool(flags & INCLUDED) or not flags & EXCLUDED
    return Meaning(
        letters=tuple(dict.fromkeys(_letters(flags))),
        sets_price=priced and not flags & OFFICIAL and not suspicious,
        counts_volume=not flags & OFFICIAL,
    )


@lru_cache(maxsize=4096)
def auction_of(code: str) -> str:
    """ "open" or "close" where the condition code says that an auction prints, else "".

    Exchanges tell of their auctions by the print itself, or by an official open or close that
    repeats it; which exchange's auction is the official one, the code does not know.
    """
    flags = SaleCondition(int(code or "0", 16) & 0xFFFFFFFF)
    if flags & OPENING:
        return OPEN
    return CLOSE if flags & CLOSING else ""


def _letters(flags: int) -> list[str]:
    set_bits = (letter for bit, letter in enumerate(LETTERS) if flags >> bit & 1)
    return [letter for letter in set_bits if letter != " "]
