"""What a trade costs beyond its price: no commission, and on sales the two US regulatory fees.

Purchases are free, so a buy never costs more than its hold. A sale pays the fee of the Securities
Exchange Act's Section 31, by the dollars it brings in, and FINRA's Trading Activity Fee, by its
shares. Brokers pass both on, rounded up to the cent: Alpaca rounds the sum of a day, for each fee
and account ("Regulatory Fees" in its documentation). Here each execution is settled at once and
for good, so each is rounded up on its own: up to a cent more for each fee. It is never more than
the execution brings in. The fee for the Consolidated Audit Trail, a few millionths of a dollar a
share, is left out.

The rates are those of the trade date. Before its first row a table counts as that row; after its
last one, until somebody adds what the SEC or FINRA announced since. A new rate of Section 31 begins
60 days after the law that funds the SEC for the year (15 U.S.C. 78ee(j)), or on 1 April.

Each row names what it was checked against. Two were not found in a notice of their own: the 18.40
of 2015, and the 22.90 of 2022, which a private table has (traderstatus.com).
"""

from __future__ import annotations

from bisect import bisect_right
from datetime import date
from decimal import Decimal
from typing import NamedTuple, TypeVar

from django.conf import settings

from quotes.amounts import CASH_PLACES, QUANTITY_UNIT

US = "us"  # the rule pack's name, in the setting FEES and in a fill's certificate
CENT = 10 ** (CASH_PLACES - 2)
MILLION = 1_000_000


class SaleRate(NamedTuple):
    """Of Section 31: what a million dollars of sales costs, in 1/10,000 USD."""

    since: date
    per_million: int


class ActivityRate(NamedTuple):
    """FINRA's fee: what a million shares cost, and the most for one execution; 1/10,000 USD."""

    since: date
    per_million: int
    most: int


Rate = TypeVar("Rate", SaleRate, ActivityRate)

# By the SEC's fee rate advisories (FRA) and orders in the Federal Register (FR), and by what FINRA
# told its members of them in Information Notices (IN).
SALE_RATES = (
    SaleRate(date(2011, 1, 21), 19_2000),  # SEC press release 2010-255
    SaleRate(date(2012, 2, 21), 18_0000),  # FRA 5 for 2012
    SaleRate(date(2012, 4, 1), 22_4000),  # FRA 2 for 2013
    SaleRate(date(2013, 5, 25), 17_4000),  # IN of 3 March 2014
    SaleRate(date(2014, 3, 18), 22_1000),  # IN of 3 March 2014
    SaleRate(date(2015, 2, 14), 18_4000),
    SaleRate(date(2016, 2, 16), 21_8000),  # IN of 15 March 2016
    SaleRate(date(2017, 7, 4), 23_1000),  # IN of 7 May 2018
    SaleRate(date(2018, 5, 22), 13_0000),  # IN of 7 May 2018
    SaleRate(date(2019, 4, 16), 20_7000),  # FRA 2 for 2019
    SaleRate(date(2020, 2, 18), 22_1000),  # IN of 3 February 2020
    SaleRate(date(2021, 2, 25), 5_1000),  # FRA 2 for 2021, IN of 16 February 2021
    SaleRate(date(2022, 5, 14), 22_9000),
    SaleRate(date(2023, 2, 27), 8_0000),  # FR 2023-01578
    SaleRate(date(2024, 5, 22), 27_8000),  # FR 2024-08512
    SaleRate(date(2025, 5, 14), 0),  # FR 2025-06214, IN of 24 April 2025
    SaleRate(date(2026, 4, 4), 20_6000),  # FR 2026-04233, FRA 2 for 2026
)

# FINRA By-Laws, Schedule A, Section 1: sales of covered equity securities; by Regulatory Notices
# (RN) and FINRA's filings with the SEC (SR). Its increases for 2027 and 2028 were taken back.
ACTIVITY_RATES = (
    ActivityRate(date.min, 75_0000, 3_7500),  # RN 11-27: before July 2011, for six years and more
    ActivityRate(date(2011, 7, 1), 90_0000, 4_5000),  # RN 11-27
    ActivityRate(date(2012, 3, 1), 95_0000, 4_7500),  # RN 12-06
    ActivityRate(date(2012, 7, 1), 119_0000, 5_9500),  # FR 2012-11246 and 2012-15806
    ActivityRate(date(2022, 1, 1), 130_0000, 6_4900),  # SR-FINRA-2020-032, FR 2020-23141
    ActivityRate(date(2023, 1, 1), 145_0000, 7_2700),  # likewise
    ActivityRate(date(2024, 1, 1), 166_0000, 8_3000),  # likewise
    ActivityRate(date(2026, 1, 1), 195_0000, 9_7900),  # SR-FINRA-2024-019, FR 2024-27764
    ActivityRate(date(2026, 10, 1), 0, 0),  # SR-FINRA-2026-021, FR 2026-19392: a pause
    ActivityRate(date(2027, 1, 1), 195_0000, 9_7900),  # SR-FINRA-2026-020: up to the end of 2028
)


def fee(*, is_buy: bool, quantity: int, cash: int, on: date) -> int:
    """The fee of one execution on that trade date, in 1/10,000 USD.

    The quantity is in billionths of a share, the cash, price times quantity, in 1/10,000 USD. None
    at all where the setting FEES says so.
    """
    if is_buy or settings.FEES != US:
        return 0
    return us_fee(quantity, cash, on)


def us_fee(quantity: int, cash: int, on: date) -> int:
    """What a sale on that trade date is charged by the pack of the US, in 1/10,000 USD."""
    return min(sale_fee(cash, on) + activity_fee(quantity, on), cash)


def pack_of(charge: Decimal) -> str:
    """The rule pack by which this was charged just now; "" for nothing."""
    return settings.FEES if charge else ""


def sale_fee(cash: int, on: date) -> int:
    """The Section 31 fee of a sale, in 1/10,000 USD."""
    rate = _in_force(SALE_RATES, on)
    return _up_to_the_cent(cash * rate.per_million, MILLION * 10**CASH_PLACES)


def activity_fee(quantity: int, on: date) -> int:
    """FINRA's Trading Activity Fee of a sale, in 1/10,000 USD."""
    rate = _in_force(ACTIVITY_RATES, on)
    return min(_up_to_the_cent(quantity * rate.per_million, MILLION * QUANTITY_UNIT), rate.most)


def _in_force(rates: tuple[Rate, ...], on: date) -> Rate:
    return rates[max(bisect_right(rates, on, key=lambda rate: rate.since) - 1, 0)]


def _up_to_the_cent(numerator: int, denominator: int) -> int:
    """A fraction of 1/10,000 USD, rounded up to whole cents."""
    return -(-numerator // (denominator * CENT)) * CENT
