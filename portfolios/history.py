"""What an account was worth over time: `GET /v2/account/portfolio/history`.

The work does not grow with the account's past. What it was on a day comes from the rows that each
day began with, one for a day with trades and one for each instrument traded on it, and from where
it stands now. Only below a day the postings of the days asked for are looked at, and those are
added up by the database, each once (`portfolios.moves`). Holdings are valued at closes of bars: of
the day, or of the last minute before the end of each stretch. The newest point is the account as it
is valued now.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal

from portfolios import moves, past, queries
from portfolios.counting_splits import splits_for
from portfolios.errors import HistoryInvalid
from portfolios.models import Account, NonTradeActivity
from portfolios.past import State
from portfolios.performance import Moment, Result, results
from portfolios.spans import DAILY, STEPS, TIMEFRAMES, Span, range_of, spans
from quotes import closes
from quotes.amounts import CASH_PLACES, PRICE_PLACES, QUANTITY_UNIT, from_units, to_units
from quotes.bars import midnight
from quotes.calendar import Calendar, TradingDay
from quotes.clock import market_clock
from quotes.history import previous_close
from quotes.splits import Split
from quotes.ticks import MICROSECONDS, to_micros

ZERO = Decimal(0)
ONE_DAY = timedelta(days=1)
CELLS_MAX = 500_000  # prices that one history may need: points × instruments
FLOWS_MAX = 10_000
CLOSED_MAX = timedelta(days=14)  # longer than the exchanges were ever closed since 1933

# What its owner brings in or takes out: neither profit nor loss.
EXTERNAL = (
    NonTradeActivity.Type.DEPOSIT,
    NonTradeActivity.Type.WITHDRAWAL,
    NonTradeActivity.Type.TRANSFER,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryRequest:
    """Which history; dates are trade dates, both included. None is a default."""

    period: str | None = None
    timeframe: str | None = None
    first: date | None = None
    last: date | None = None
    extended_hours: bool = False


@dataclass(frozen=True, slots=True)
class History:
    """One value for each label; `flows` likewise, by type of activity."""

    timeframe: str
    labels: list[int]
    equity: list[Decimal]
    results: list[Result]
    base: Decimal
    based_on: date | None  # the trade date whose end the base is of
    flows: dict[str, list[Decimal]] = field(default_factory=dict)


def portfolio_history(account: Account, wanted: HistoryRequest) -> History:
    """The account's worth at the end of each stretch, and what was earned since before the first.

    Raises HistoryInvalid where the request makes no sense or asks for too much at once.
    """
    clock = market_clock()
    now, calendar = clock.now(), clock.calendar
    today = _last_begun(calendar, now)
    dates = range_of(calendar, today, wanted.period, wanted.first, wanted.last)
    timeframe = wanted.timeframe or dates.timeframe
    if timeframe not in TIMEFRAMES:
        raise HistoryInvalid(f"timeframe must be one of {', '.join(TIMEFRAMES)}")
    begins = max(dates.first, calendar.trading_date(account.created_at))
    days = calendar.days(begins, dates.last)
    stretches = [
        span
        for span in spans(days, timeframe, extended=wanted.extended_hours)
        if span.label <= now.timestamp() and span.end > account.created_at
    ]
    if not stretches:
        return History(timeframe, [], [], [], ZERO, None)
    return _Teller(account, days, stretches, timeframe, dates.last == today).history(calendar)


def _last_begun(calendar: Calendar, now: datetime) -> date:
    """The newest trading day whose regular session has begun."""
    day = calendar.current_day(now)
    return day.date if day.open_at <= now else calendar.previous_day(day.date).date


@dataclass(slots=True)
class _Teller:
    """One history being worked out; amounts and prices are scaled integers."""

    account: Account
    days: Sequence[TradingDay]
    spans: Sequence[Span]
    timeframe: str
    is_live: bool  # whether it goes up to now

    def history(self, calendar: Calendar) -> History:
        states = self._states()
        prices = self._prices({pk for state in states for pk in state.shares})
        base = _worth(self._before(), prices.first)
        equity = [
            from_units(_worth(state, priced), CASH_PLACES)
            for state, priced in zip(states, prices.along(self.spans, self.timeframe), strict=True)
        ]
        if self.is_live:
            equity[-1] = queries.account_summary(self.account).equity
        flows = self._flows()
        moments = [Moment(worth, *_in_and_out(flows, n)) for n, worth in enumerate(equity)]
        return History(
            timeframe=self.timeframe,
            labels=[span.label for span in self.spans],
            equity=equity,
            results=results(from_units(base, CASH_PLACES), moments),
            base=from_units(base, CASH_PLACES) or moments[0].paid_in - moments[0].paid_out,
            based_on=calendar.previous_day(self.days[0].date).date,
            flows=flows,
        )

    def _before(self) -> State:
        """What there was before the first day."""
        return past.states_after(self.account, [self.days[0].date - ONE_DAY])[0]

    def _states(self) -> list[State]:
        """What there was at the end of each stretch."""
        if self.timeframe == DAILY:
            return past.states_after(self.account, [span.on for span in self.spans])
        dates = [day.date for day in self.days]
        opened = past.states_after(self.account, [on - ONE_DAY for on in dates])
        moved = moves.moves(self.account, dates[0], dates[-1], STEPS[self.timeframe])
        return list(_within_days(self.days, opened, moved, self.spans))

    def _prices(self, instrument_ids: set[int]) -> _Prices:
        if len(instrument_ids) * len(self.spans) > CELLS_MAX:
            raise HistoryInvalid(
                f"more than {CELLS_MAX} prices: ask for a shorter period or a longer timeframe",
                maximum=CELLS_MAX,
            )
        first, last = self.days[0], self.days[-1]
        if self.timeframe == DAILY:
            found = closes.daily_closes(instrument_ids, midnight(first.date), midnight(last.date))
        else:
            found = closes.minute_closes(
                instrument_ids,
                to_micros(first.overnight_at) // MICROSECONDS,
                to_micros(last.after_at) // MICROSECONDS,
                STEPS[self.timeframe],
            )
        splits = splits_for(self.account.pk, instrument_ids)
        earlier = [split for split in splits if split.on < first.date]
        before = {
            pk: to_units(price, PRICE_PLACES)
            for pk, price in previous_close(instrument_ids, first.open_at, earlier).items()
        }
        # What nobody had priced yet counts at the first price it got.
        first_ones = {pk: priced[0][1] for pk, priced in found.items()}
        return _Prices(first_ones | before, found, splits[len(earlier) :])

    def _flows(self) -> dict[str, list[Decimal]]:
        """What was paid in and out during each stretch, by type."""
        rows = NonTradeActivity.objects.filter(
            account_id=self.account.pk,
            type__in=EXTERNAL,
            on__gte=self.days[0].date,
            at__gte=self.days[0].overnight_at - CLOSED_MAX,  # where the index is entered
        ).order_by("at", "id")
        found = list(rows.values_list("type", "net_amount", "on", "at")[: FLOWS_MAX + 1])
        if len(found) > FLOWS_MAX:
            raise HistoryInvalid(
                f"more than {FLOWS_MAX} deposits: ask for a shorter period", maximum=FLOWS_MAX
            )
        ends = [(span.on, span.end) for span in self.spans]
        flows: dict[str, list[Decimal]] = {}
        for kind, amount, on, at in found:
            n = bisect_right(ends, (on, at))
            if n == len(ends) and self.is_live:
                n -= 1
            if n < len(ends):
                flows.setdefault(kind, [ZERO] * len(ends))[n] += amount
        return flows


@dataclass(frozen=True, slots=True)
class _Prices:
    """Prices before the first stretch, and (start, close) of bars in it, by instrument.

    A split is news, too: of the price that stands where it happens.
    """

    first: dict[int, int]
    later: Mapping[int, Sequence[tuple[int, int]]]
    splits: Sequence[Split]

    def along(self, stretches: Sequence[Span], timeframe: str) -> Iterator[dict[int, int]]:
        """The prices at the end of each stretch; the same dict each time, brought up to date."""
        news: list[tuple[int, int, int, Split | None]] = [
            (start, pk, close, None) for pk, bars in self.later.items() for start, close in bars
        ]
        for split in self.splits:
            at = midnight(split.on) if timeframe == DAILY else split.at_us // MICROSECONDS
            news.append((at, split.instrument_id, 0, split))
        # Before the first bar that starts with it.
        news.sort(key=lambda one: (one[0], one[1], one[2]))
        prices, at = dict(self.first), 0
        for span in stretches:
            if timeframe == DAILY:
                until = midnight(span.on) + 1
            else:
                until = to_micros(span.end) // MICROSECONDS
            while at < len(news) and news[at][0] < until:
                _, pk, close, happened = news[at]
                prices[pk] = close if happened is None else happened.price(prices.get(pk, 0))
                at += 1
            yield prices


def _within_days(
    days: Sequence[TradingDay],
    opened: Sequence[State],
    moved: Sequence[moves.Moved],
    stretches: Sequence[Span],
) -> Iterator[State]:
    """Each day's opening state, and what its postings up to the end of each stretch made of it."""
    ends: dict[date, list[int]] = {}
    for span in stretches:
        ends.setdefault(span.on, []).append(to_micros(span.end) // MICROSECONDS)
    at = 0
    for day, state in zip(days, opened, strict=True):
        begins = to_micros(day.overnight_at) // MICROSECONDS
        while at < len(moved) and moved[at].start < begins:
            at += 1
        for end in ends.get(day.date, ()):
            begun = at
            while at < len(moved) and moved[at].start < end:
                at += 1
            state = state.after(moved[begun:at])
            yield state


def _worth(state: State, prices: Mapping[int, int]) -> int:
    """In the unit of cash, as `portfolios.valuation` rounds: half-even, for each position."""
    worth = state.cash
    for pk, quantity in state.shares.items():
        whole, rest = divmod(quantity * prices.get(pk, 0), QUANTITY_UNIT)
        twice = 2 * rest
        worth += whole + (twice > QUANTITY_UNIT or (twice == QUANTITY_UNIT and whole % 2 == 1))
    return worth


def _in_and_out(flows: Mapping[str, Sequence[Decimal]], n: int) -> tuple[Decimal, Decimal]:
    amounts = [of_type[n] for of_type in flows.values()]
    paid_in = sum((amount for amount in amounts if amount > 0), ZERO)
    return paid_in, -sum((amount for amount in amounts if amount < 0), ZERO)
