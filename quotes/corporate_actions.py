"""Corporate actions: announced by an operator, carried out when their time has come.

Here stands what was announced and how far it is. What it does to accounts is done by the layers
above (`trading.corporate_actions`), account by account; whoever goes on after a crash finds here
which positions are done.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import count, islice
from typing import Any, TypeVar

from django.db import transaction
from django.db.models import Q, QuerySet

from events import log
from events.errors import Invalid, NotFound, Refused
from events.transactions import retried
from quotes import halts, splits
from quotes.amounts import PER_SHARE_PLACES, PRICE_MAX, plain, to_units
from quotes.calendar import Calendar, TradingDay
from quotes.clock import market_clock
from quotes.models import CorporateAction, Instrument
from quotes.streaming.bus import CONTROL, bus

AHEAD_MAX = timedelta(days=366)
RATIO_MAX = 1_000
DUE_MAX = 1_000  # actions read at a time
LEAD = timedelta(seconds=60)  # before its prices split, a simulated market knows
SIMULATED_RATIO_MAX = 100  # from a few dollars to a few hundred, prices stay prices
Status = CorporateAction.Status
# What beginning and finishing make of it.
BEGINNINGS = {Status.ANNOUNCED: Status.UNDER_WAY, Status.TO_REVERSE: Status.REVERSING}
ENDS = {Status.UNDER_WAY: Status.DONE, Status.REVERSING: Status.REVERSED}
UNFINISHED = Q(status__in=[*BEGINNINGS, *ENDS])
TO_BEGIN = Q(status__in=list(BEGINNINGS), kind=CorporateAction.Kind.SPLIT)
R = TypeVar("R")
NEWS = "corporate_action"  # the kind of the message that says when one is announced or called off


class AlreadyAnnounced(Refused):
    """The instrument has an action of that kind on that day."""

    message = "this is announced already"


class PricesHaveSplit(Refused):
    """The simulated market's prices have split, and cannot go back to what they were."""

    message = "a simulated market's prices have split; announce the opposite split instead"


class NotDone(Refused):
    """Only what is done can be taken back, and only once."""

    message = "only a corporate action that is done can be taken back"


class TooLate(Refused):
    """Its time has come."""

    message = "the time of this corporate action has come"


@retried
@transaction.atomic
def announce_dividend(
    *, symbol: str, per_share: Decimal, ex_on: date, payable_on: date, actor: str
) -> CorporateAction:
    """Announce that holders before `ex_on` are paid `per_share` USD when `payable_on` begins.

    Where that is no trading day, on the next one. `ex_on` may be past, for the books know who held
    the shares. Raises NotFound, Invalid, TooLate, AlreadyAnnounced.
    """
    instrument = _locked(symbol)
    clock = market_clock()

    _check_per_share(per_share)
    _check_ex_day(clock.calendar, ex_on)
    if not ex_on <= payable_on <= ex_on + AHEAD_MAX:
        raise Invalid("it is paid on its ex-date or within a year after it", payable_on=payable_on)
    due_at = (clock.calendar.day(payable_on) or clock.calendar.next_day(payable_on)).overnight_at

    return _announce(
        instrument,
        actor,
        kind=CorporateAction.Kind.DIVIDEND,
        ex_on=ex_on,
        payable_on=payable_on,
        per_share=per_share,
        due_at=due_at,
    )


@retried
@transaction.atomic
def announce_split(
    *, symbol: str, new_shares: int, old_shares: int, ex_on: date, actor: str
) -> CorporateAction:
    """Announce `new_shares` for every `old_shares` when the trading day `ex_on` begins.

    Raises NotFound, Invalid, TooLate, AlreadyAnnounced.
    """
    instrument = _locked(symbol)
    clock = market_clock()

    if not (1 <= new_shares <= RATIO_MAX and 1 <= old_shares <= RATIO_MAX):
        raise Invalid(f"a split is between 1:{RATIO_MAX} and {RATIO_MAX}:1")
    if new_shares == old_shares:
        raise Invalid("a split changes the number of shares")
    due_at = _check_ex_day(clock.calendar, ex_on).overnight_at
    if _is_simulated():
        _check_lead(due_at)
        _check_price_after(instrument, new_shares, old_shares)

    return _announce(
        instrument,
        actor,
        kind=CorporateAction.Kind.SPLIT,
        ex_on=ex_on,
        new_shares=new_shares,
        old_shares=old_shares,
        due_at=due_at,
    )


def _locked(symbol: str) -> Instrument:
    """The instrument, locked, so that nobody announces the same beside us."""
    instrument = Instrument.objects.select_for_update().filter(symbol=symbol.upper()).first()
    if instrument is None:
        raise NotFound(f"asset not found for {symbol}")
    return instrument


def _check_per_share(per_share: Decimal) -> None:
    try:
        if per_share.is_finite() and 0 < per_share <= PRICE_MAX:
            to_units(per_share, PER_SHARE_PLACES)
            return
    except ValueError:
        pass
    raise Invalid(
        f"an amount per share is more than 0, with at most {PER_SHARE_PLACES} decimals",
        per_share=per_share,
    )


def _check_ex_day(calendar: Calendar, ex_on: date) -> TradingDay:
    day = calendar.day(ex_on)
    if day is None:
        raise Invalid("the ex-date is a trading day", ex_on=ex_on)
    return day


def _is_simulated() -> bool:
    """Whether the market makes its prices itself."""
    return market_clock().source.startswith("simulated")


def _check_lead(due_at: datetime) -> None:
    """The feed makes its prices a little ahead, and has to know by then."""
    now = market_clock().now()
    if due_at - now < LEAD:
        raise TooLate(
            f"a simulated market has to know {LEAD.seconds} seconds before its prices split",
            now=now.isoformat(),
            due_at=due_at.isoformat(),
        )


def _check_price_after(instrument: Instrument, new_shares: int, old_shares: int) -> None:
    """All splits of the instrument together leave its simulated price where a price can be."""
    ratio = Fraction(new_shares, old_shares)
    for split in splits.announced():
        if split.instrument_id == instrument.pk:
            ratio *= Fraction(split.new, split.old)
    if not Fraction(1, SIMULATED_RATIO_MAX) <= ratio <= SIMULATED_RATIO_MAX:
        raise Invalid(
            "all splits of a simulated instrument together are between"
            f" 1:{SIMULATED_RATIO_MAX} and {SIMULATED_RATIO_MAX}:1",
            together=f"{ratio.numerator}:{ratio.denominator}",
        )


def _announce(instrument: Instrument, actor: str, **terms: Any) -> CorporateAction:
    """Store what was checked, record it, tell the engine."""
    now = market_clock().now()
    if not now < terms["due_at"] <= now + AHEAD_MAX:
        raise TooLate(
            "it has to be announced before it is carried out, by at most a year",
            now=now.isoformat(),
            due_at=terms["due_at"].isoformat(),
        )
    same = CorporateAction.objects.filter(
        instrument=instrument, kind=terms["kind"], ex_on=terms["ex_on"]
    )
    if same.exclude(status=CorporateAction.Status.CANCELED).exists():
        raise AlreadyAnnounced(symbol=instrument.symbol, ex_on=terms["ex_on"])
    action = CorporateAction.objects.create(instrument=instrument, announced_at=now, **terms)
    record("announced", action, actor, **terms_json(action))
    _tell()
    return action


@retried
@transaction.atomic
def cancel(*, action_id: int, actor: str) -> CorporateAction:
    """Call an announced action off. Raises TooLate once it is under way, and in a simulated market
    once its prices may have split."""
    action = locked(action_id)

    if action.status != Status.ANNOUNCED:
        raise TooLate(status=action.status)
    if action.kind == CorporateAction.Kind.SPLIT and _is_simulated():
        _check_lead(action.due_at)

    action.status = Status.CANCELED
    action.save(update_fields=["status"])

    record("canceled", action, actor)
    _tell()
    return action


@retried
@transaction.atomic
def reverse(*, action_id: int, actor: str) -> CorporateAction:
    """Order that what an action did is taken back: carried out at once, account by account.

    Accounts whose shares of the instrument moved since, or that cannot pay, keep what it did to
    them; each is listed with its reason. Raises NotFound, NotDone, PricesHaveSplit.
    """
    action = locked(action_id)

    if action.status != Status.DONE:
        raise NotDone(status=action.status)
    if action.kind == CorporateAction.Kind.SPLIT and _is_simulated():
        raise PricesHaveSplit(symbol=action.instrument.symbol)

    action.status, action.after_position = Status.TO_REVERSE, 0
    action.reverse_at = market_clock().now()
    action.save(update_fields=["status", "after_position", "reverse_at"])

    record("reversal_ordered", action, actor)
    _tell()
    return action


def next_due_at(
    instrument_ids: Collection[int], *, splits_to_begin: bool = False
) -> datetime | None:
    """When the next action of these instruments has to be carried out: past where one is late or
    half done. Or when their next split has to begin, if only those matter.
    """
    rows = CorporateAction.objects.filter(TO_BEGIN if splits_to_begin else UNFINISHED)
    columns = rows.order_by("due_at", "pk").values_list("due_at", "instrument_id")
    return next((at for at, pk in _each(columns) if pk in instrument_ids), None)


def due(
    now: datetime, instrument_ids: Collection[int] | None = None, *, begins_splits: bool = True
) -> list[CorporateAction]:
    """Those whose time has come and that are not done, in their order; some of them, if many.

    Of these instruments; of all where none are named.
    """
    rows = CorporateAction.objects.filter(UNFINISHED, due_at__lte=now)
    if not begins_splits:
        rows = rows.exclude(TO_BEGIN)
    found = _each(rows.select_related("instrument").order_by("due_at", "pk"))
    own = (each for each in found if instrument_ids is None or each.instrument_id in instrument_ids)
    return list(islice(own, DUE_MAX))


def _each(rows: QuerySet[CorporateAction, R]) -> Iterator[R]:
    """All of them, however many stand before those that matter; some of them at a time."""
    for start in count(0, DUE_MAX):
        found = list(rows[start : start + DUE_MAX])
        yield from found
        if len(found) < DUE_MAX:
            return


def begin_splits(now: datetime, instrument_ids: Collection[int], *, actor: str) -> None:
    """Begin the splits that are due: their instruments are halted when this returns."""
    for action in due(now, instrument_ids):
        if action.kind == CorporateAction.Kind.SPLIT:
            begin(action.pk, actor=actor)


@retried
@transaction.atomic(durable=True)
def begin(action_id: int, *, actor: str) -> CorporateAction:
    """Say that it is under way, and for a split halt the instrument; nothing where it is so
    already. An operator's own halt stays as it is."""
    action = locked(action_id)

    if action.status not in BEGINNINGS:
        return action

    action.status = BEGINNINGS[Status(action.status)]
    action.save(update_fields=["status"])
    if action.kind == CorporateAction.Kind.SPLIT and not action.instrument.halted:
        halts.set_halt(action.instrument, reason=halts.split_reason(action), actor=actor)

    record("begun", action, actor)
    return action


def is_still_so(action: CorporateAction) -> bool:
    """Whether it is as far as it was when it was read. While a split is, nothing is traded."""
    return CorporateAction.objects.filter(pk=action.pk, status=action.status).exists()


def note_progress(action: CorporateAction) -> bool:
    """Store how far it is. What was done after the last note is found done when it is met again.

    False, and nothing is stored, where another is further: a former owner that stood still, and
    whose action was finished or is taken back by now, ends here.
    """
    rows = CorporateAction.objects.filter(
        pk=action.pk, status=action.status, after_position__lte=action.after_position
    )
    noted = rows.update(after_position=action.after_position, accounts=action.accounts)
    return bool(noted)


@retried
@transaction.atomic(durable=True)
def finish(action: CorporateAction, *, actor: str) -> None:
    """Say that every account has been looked at, and end the halt that `begin` made; nothing where
    another said so, even if it is being taken back by now."""
    stored = locked(action.pk)

    if stored.status != action.status or stored.status not in ENDS:
        return

    stored.status = ENDS[Status(stored.status)]
    stored.save(update_fields=["status"])
    instrument = stored.instrument
    if instrument.halted and instrument.halt_reason == halts.split_reason(stored):
        halts.set_halt(instrument, reason=None, actor=actor)

    record(str(stored.status), stored, actor, accounts=stored.accounts)


def locked(action_id: int) -> CorporateAction:
    """The action and its instrument, locked. Raises NotFound."""
    rows = CorporateAction.objects.select_for_update().select_related("instrument")
    action = rows.filter(pk=action_id).first()
    if action is None:
        raise NotFound("no such corporate action")
    return action


def record(what: str, action: CorporateAction, actor: str, **payload: Any) -> None:
    log.record(
        f"quotes.corporate_action.{what}",
        actor=actor,
        subject=f"corporate_action:{action.public_id}",
        at=market_clock().now(),
        payload={"symbol": action.instrument.symbol, "kind": action.kind, **payload},
    )


def terms_json(action: CorporateAction) -> dict[str, str]:
    """What was announced, in words that JSON knows."""
    told: dict[str, str] = {"ex_on": str(action.ex_on), "due_at": action.due_at.isoformat()}
    if action.per_share is not None:
        told |= {"per_share": plain(action.per_share), "payable_on": str(action.payable_on)}
    else:
        told["ratio"] = f"{action.new_shares}:{action.old_shares}"
    return told


def _tell() -> None:
    transaction.on_commit(lambda: bus().publish(CONTROL, {"kind": NEWS}))
