"""What the instruments of the simulated market are: real names, plausible prices, habits.

Feeds that know only symbols look up names and exchanges here too. Prices are where the simulation
wanders about, not quotations of any day.
"""

from __future__ import annotations

from typing import NamedTuple

from quotes.feeds.base import InstrumentSpec


class Listing(NamedTuple):
    """One instrument of the simulated market.

    `price` in USD is what it returns to over the months, `volatility` the standard deviation of
    its daily logarithmic return in percent, `activity` its ticks relative to an average instrument.
    """

    symbol: str
    name: str
    exchange: str
    sector: str
    price: float
    volatility: float
    activity: float

    @property
    def spec(self) -> InstrumentSpec:
        return InstrumentSpec(self.symbol, self.name, self.exchange)


LISTINGS = tuple(
    Listing(*row)
    for row in (
        ("AAPL", "Apple Inc.", "NASDAQ", "technology", 231.0, 1.5, 2.4),
        ("ABBV", "AbbVie Inc.", "NYSE", "health", 186.0, 1.3, 0.6),
        ("ADBE", "Adobe Inc.", "NASDAQ", "technology", 498.0, 1.8, 0.6),
        ("AIG", "American International Group, Inc.", "NYSE", "finance", 78.0, 1.5, 0.6),
        ("AMD", "Advanced Micro Devices, Inc.", "NASDAQ", "chips", 152.0, 2.8, 1.8),
        ("AMZN", "Amazon.com, Inc.", "NASDAQ", "retail", 198.0, 1.8, 2.0),
        ("AVGO", "Broadcom Inc.", "NASDAQ", "chips", 182.0, 2.4, 1.2),
        ("BA", "The Boeing Company", "NYSE", "industry", 172.0, 2.1, 0.9),
        ("BAC", "Bank of America Corporation", "NYSE", "finance", 44.0, 1.4, 1.4),
        ("C", "Citigroup Inc.", "NYSE", "finance", 68.0, 1.6, 1.0),
        ("CAT", "Caterpillar Inc.", "NYSE", "industry", 372.0, 1.6, 0.5),
        ("COST", "Costco Wholesale Corporation", "NASDAQ", "staples", 912.0, 1.2, 0.5),
        ("CRM", "Salesforce, Inc.", "NYSE", "technology", 312.0, 1.8, 0.7),
        ("CSCO", "Cisco Systems, Inc.", "NASDAQ", "technology", 58.0, 1.2, 1.0),
        ("CVX", "Chevron Corporation", "NYSE", "energy", 158.0, 1.4, 0.8),
        ("DIS", "The Walt Disney Company", "NYSE", "media", 108.0, 1.6, 0.9),
        ("F", "Ford Motor Company", "NYSE", "cars", 11.2, 2.0, 1.2),
        ("GE", "GE Aerospace", "NYSE", "industry", 182.0, 1.6, 0.6),
        ("GLD", "SPDR Gold Shares", "ARCA", "gold", 246.0, 0.9, 0.8),
        ("GM", "General Motors Company", "NYSE", "cars", 54.0, 1.9, 0.8),
        ("GOOG", "Alphabet Inc. Class C", "NASDAQ", "media", 178.0, 1.7, 1.3),
        ("GOOGL", "Alphabet Inc. Class A", "NASDAQ", "media", 176.5, 1.7, 1.4),
        ("GS", "The Goldman Sachs Group, Inc.", "NYSE", "finance", 582.0, 1.6, 0.5),
        ("HD", "The Home Depot, Inc.", "NYSE", "retail", 402.0, 1.3, 0.6),
        (
            "IBM",
            "International Business Machines Corporation",
            "NYSE",
            "technology",
            214.0,
            1.3,
            0.8,
        ),
        ("INTC", "Intel Corporation", "NASDAQ", "chips", 24.5, 2.6, 1.6),
        ("IWM", "iShares Russell 2000 ETF", "ARCA", "index", 226.0, 1.3, 1.4),
        ("JNJ", "Johnson & Johnson", "NYSE", "health", 156.0, 1.0, 0.7),
        ("JPM", "JPMorgan Chase & Co.", "NYSE", "finance", 242.0, 1.3, 1.0),
        ("KO", "The Coca-Cola Company", "NYSE", "staples", 63.5, 0.9, 0.9),
        ("MA", "Mastercard Incorporated", "NYSE", "finance", 522.0, 1.2, 0.5),
        ("MCD", "McDonald's Corporation", "NYSE", "staples", 294.0, 1.0, 0.5),
        ("META", "Meta Platforms, Inc.", "NASDAQ", "media", 572.0, 2.1, 1.6),
        ("MRK", "Merck & Co., Inc.", "NYSE", "health", 101.0, 1.3, 0.8),
        ("MSFT", "Microsoft Corporation", "NASDAQ", "technology", 428.0, 1.3, 2.0),
        ("NFLX", "Netflix, Inc.", "NASDAQ", "media", 884.0, 2.1, 0.9),
        ("NKE", "NIKE, Inc.", "NYSE", "retail", 76.0, 1.8, 0.9),
        ("NVDA", "NVIDIA Corporation", "NASDAQ", "chips", 142.0, 2.7, 2.6),
        ("ORCL", "Oracle Corporation", "NYSE", "technology", 186.0, 1.8, 0.8),
        ("PEP", "PepsiCo, Inc.", "NASDAQ", "staples", 159.0, 1.0, 0.6),
        ("PFE", "Pfizer Inc.", "NYSE", "health", 25.8, 1.5, 1.3),
        ("PG", "The Procter & Gamble Company", "NYSE", "staples", 172.0, 0.9, 0.7),
        ("QQQ", "Invesco QQQ Trust", "NASDAQ", "index", 502.0, 1.2, 2.2),
        ("SPY", "SPDR S&P 500 ETF Trust", "ARCA", "index", 588.0, 0.9, 2.6),
        ("T", "AT&T Inc.", "NYSE", "media", 22.6, 1.2, 1.2),
        ("TSLA", "Tesla, Inc.", "NASDAQ", "cars", 338.0, 3.2, 2.4),
        ("UNH", "UnitedHealth Group Incorporated", "NYSE", "health", 592.0, 1.5, 0.6),
        ("V", "Visa Inc.", "NYSE", "finance", 308.0, 1.1, 0.7),
        ("WMT", "Walmart Inc.", "NYSE", "staples", 86.0, 1.1, 1.0),
        ("XOM", "Exxon Mobil Corporation", "NYSE", "energy", 119.0, 1.4, 1.1),
    )
)

_BY_SYMBOL = {listing.symbol: listing for listing in LISTINGS}

# How the tape names the exchanges.
_LETTERS = {"NYSE": "N", "NASDAQ": "Q", "ARCA": "P", "AMEX": "A", "BATS": "Z"}


def describe(symbol: str) -> InstrumentSpec:
    """What is known of a symbol; of an unknown one no more than the symbol."""
    listing = _BY_SYMBOL.get(symbol)
    return listing.spec if listing else InstrumentSpec(symbol)


def listed_on(symbol: str) -> str:
    """The tape's letter of the exchange whose auctions are official; "" where it is not known."""
    listing = _BY_SYMBOL.get(symbol)
    return _LETTERS[listing.exchange] if listing else ""
