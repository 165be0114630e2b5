"""What an account held at the end of past days: from the rows that its days began with.

Amounts are scaled integers, as stored: a year of many positions is a hundred thousand of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date

from portfolios.errors import HistoryInvalid
from portfolios.models import Account, AccountDay, Position, PositionDay
from portfolios.moves import Moved
from quotes.amounts import CASH_PLACES, QUANTITY_PLACES, to_units

ROWS_MAX = 500_000  # of days and positions that one question may read


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


def _put(shares: dict[int, int], instrument_id: int, quantity: int) -> None:
    if quantity:
        shares[instrument_id] = quantity
    else:
        shares.pop(instrument_id, None)
