"""What an account held in the past: from the rows its days began with, and from its postings.

Amounts are scaled integers, as stored: a year of many positions is a hundred thousand of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple

from django.db import connections, router

from portfolios.errors import HistoryInvalid
from portfolios.models import Account, AccountDay, Position, PositionDay, Posting
from quotes.amounts import CASH_PLACES, QUANTITY_PLACES, to_units

# That one question may add up; MariaDB takes 2.5 s for a million.
TRANSACTIONS_MAX = 500_000
ROWS_MAX = 500_000  # of days and positions that one question may read


class Moved(NamedTuple):
    """What the postings of a stretch did to cash (instrument None) or to shares, all together."""

    start: int  # epoch seconds, a multiple of the stretch
    instrument_id: int | None
    amount: int


@dataclass(frozen=True, slots=True)
class State:
    """Cash, and shares by instrument id where there are any."""

    cash: int
    shares: dict[int, int]

    def after(self, moves: Iterable[Moved]) -> State:
        """The state that these moves make of it."""
        cash, shares = self.cash, self.shares
        for move in moves:
            if move.instrument_id is None:
                cash += move.amount
                continue
            if shares is self.shares:
                shares = dict(shares)
            _put(shares, move.instrument_id, shares.get(move.instrument_id, 0) + move.amount)
        return State(cash, shares)


def states_after(account: Account, dates: Sequence[date]) -> list[State]:
    """What there was at the end of each of these dates, which ascend.

    From what there is now, backwards: a day's row says what there was before it. Raises
    HistoryInvalid where that is too much to read.
    """
    opened = _days_after(account.pk, dates[0])
    cash = to_units(account.cash, CASH_PLACES)
    held = Position.objects.filter(account_id=account.pk).exclude(quantity=0)
    shares = {
        pk: to_units(quantity, QUANTITY_PLACES)
        for pk, quantity in held.values_list("instrument_id", "quantity")
    }
    states: list[State] = []
    for on in reversed(dates):
        while opened and opened[-1][0] > on:
            _, instrument_id, amount = opened.pop()
            if instrument_id is None:
                cash = amount
            else:
                _put(shares, instrument_id, amount)
        states.append(State(cash, dict(shares)))
    return states[::-1]


def _days_after(account_id: int, on: date) -> list[tuple[date, int | None, int]]:
    """(date, instrument id or None for cash, what it began with), ascending by date."""
    accounts = AccountDay.objects.filter(account_id=account_id, on__gt=on)
    positions = PositionDay.objects.filter(account_id=account_id, on__gt=on)
    rows: list[tuple[date, int | None, int]] = [
        (day, None, to_units(cash, CASH_PLACES))
        for day, cash in accounts.values_list("on", "open_cash")
    ]
    held = positions.values_list("on", "instrument_id", "open_quantity")[: ROWS_MAX + 1]
    rows += [(day, pk, to_units(quantity, QUANTITY_PLACES)) for day, pk, quantity in held]
    if len(rows) > ROWS_MAX:
        raise HistoryInvalid("too much was traded since: ask for a later start", maximum=ROWS_MAX)
    return sorted(rows, key=lambda row: row[0])


def moves(account: Account, first: date, last: date, step: int) -> list[Moved]:
    """What the postings of these trade dates did, added up in stretches of `step` seconds.

    Ascending by time. One walk along the key of the postings, which it enters where the first day
    begins; grouped by the database. Raises HistoryInvalid where that is too much to read.
    """
    days = AccountDay.objects.filter(account_id=account.pk).order_by("on")
    begin = days.filter(on__gte=first).values_list("first_transaction", flat=True).first()
    end = days.filter(on__gt=last).values_list("first_transaction", flat=True).first()
    if begin is None:
        return []
    if (end or account.transaction_sequence + 1) - begin > TRANSACTIONS_MAX:
        raise HistoryInvalid(
            "too much was traded on these days: ask for fewer, or for timeframe 1D",
            maximum=TRANSACTIONS_MAX,
        )
    connection = connections[router.db_for_read(Posting)]
    statement, values = moves_statement(connection.vendor, account.pk, begin, end, step)
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        rows = cursor.fetchall()
    return sorted(
        (Moved(int(start), pk, int(amount)) for pk, start, amount in rows if amount),
        key=lambda move: move.start,
    )


def moves_statement(
    vendor: str, account_id: int, begin: int, end: int | None, step: int
) -> tuple[str, list[int]]:
    """The query of `moves` from transaction `begin` on, up to `end`, which it does not include."""
    seconds = (
        "TIMESTAMPDIFF(SECOND, '1970-01-01', p.at)"
        if vendor == "mysql"
        else "CAST(strftime('%%s', p.at) AS INTEGER)"
    )
    number = "`transaction`" if vendor == "mysql" else '"transaction"'  # a word of SQL, too
    beyond = "" if end is None else f" AND p.{number} < %s"
    own = "('cash', 'shares')"
    return (
        f"SELECT p.instrument_id, {seconds} - {seconds} %% %s AS start,"
        f" SUM(CASE WHEN p.target IN {own} THEN p.amount WHEN p.source IN {own} THEN -p.amount"
        f" ELSE 0 END) FROM {Posting._meta.db_table} p WHERE p.account_id = %s"
        f" AND p.{number} >= %s{beyond} GROUP BY p.instrument_id, start",
        [step, account_id, begin, *([] if end is None else [end])],
    )


def _put(shares: dict[int, int], instrument_id: int, quantity: int) -> None:
    if quantity:
        shares[instrument_id] = quantity
    else:
        shares.pop(instrument_id, None)
