"""Splits: what `new` shares for every `old` make of an account's books.

Each lot's quantity × new ÷ old is rounded half-even to nine decimals and never to nothing, so
that no cash has to stand in for fractions; the lots add up to the position as before. Cost basis
and opening fees stay as they are. Prices of lots × old ÷ new are rounded to four decimals.

`apply_split` is pure apart from the objects it is given, as `positions.apply_execution` is: the
rebuild of the books goes through it too.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal

from django.db.models import BigIntegerField

from events import log
from events.bulk import insert_rows, update_rows
from portfolios import ledger, positions
from portfolios.errors import BoundExceeded
from portfolios.ledger import Move, Transaction
from portfolios.models import (
    Account,
    Entitlement,
    Ledger,
    Lot,
    NonTradeActivity,
    Position,
    PositionDay,
    PostingKind,
)
from quotes.amounts import (
    EXACT,
    PRICE_PLACES,
    QUANTITY_MAX,
    QUANTITY_PLACES,
    from_units,
    plain,
    rounded,
)
from quotes.clock import market_clock
from quotes.models import CorporateAction

ZERO = Decimal(0)
TAKEN_BACK = "back"
CRUMB = Decimal(1).scaleb(-QUANTITY_PLACES)  # the least that can be held
# What a lot was opened with and at may leave the bounds of an order, but no column.
KEPT_QUANTITY_MAX = from_units(BigIntegerField.MAX_BIGINT, QUANTITY_PLACES)
KEPT_PRICE_MAX = from_units(BigIntegerField.MAX_BIGINT, PRICE_PLACES)


@dataclass(frozen=True, slots=True)
class Ratio:
    """`new` shares for every `old`; or, taken back, what `old` shares for every `new` came from."""

    new: int
    old: int
    is_taken_back: bool = False

    def of(self, quantity: Decimal) -> Decimal:
        """The shares that a quantity becomes, signed as it is."""
        if quantity == 0:
            return ZERO
        exact = EXACT.divide(EXACT.multiply(quantity, self.new), self.old)
        if self.is_taken_back:
            # The roundest quantity that the split would have made this of.
            split = Ratio(self.old, self.new)
            for places in range(QUANTITY_PLACES):
                source = rounded(exact, places)
                if source and split.of(source) == quantity:
                    return source
        return rounded(exact, QUANTITY_PLACES) or CRUMB.copy_sign(quantity)

    def price(self, price: Decimal) -> Decimal:
        """What a share's price becomes."""
        return rounded(EXACT.divide(EXACT.multiply(price, self.old), self.new), PRICE_PLACES)


@dataclass(slots=True)
class Applied:
    """What a split did: a transaction unless nothing moved, and the lots that changed."""

    transaction: Transaction | None = None
    day: PositionDay | None = None
    added: Decimal = ZERO
    lots: list[Lot] = field(default_factory=list)


def reference_of(action: CorporateAction) -> str:
    """How a posting names its split, or the reversal of it, with all that replaying it takes."""
    if action.reverse_at is not None:
        return f"{action.old_shares}:{action.new_shares}:{action.public_id}:{TAKEN_BACK}"
    return f"{action.new_shares}:{action.old_shares}:{action.public_id}"


def ratio_of(reference: str) -> Ratio:
    """The ratio in a posting's reference. Raises ValueError."""
    new, old, _, *more = reference.split(":")
    return Ratio(int(new), int(old), more == [TAKEN_BACK])


def apply_split(
    account: Account,
    position: Position,
    open_lots: list[Lot],
    *,
    at: datetime,
    trade_date: date,
    reference: str,
) -> Applied:
    """Book a split in memory, and say what is to be written. `open_lots` are all the position has.

    Raises BoundExceeded, before anything changed, where the shares would leave their bounds, or
    what is remembered of a lot or of the day its column.
    """
    ratio = ratio_of(reference)
    left = [ratio.of(lot.quantity_left) for lot in open_lots]
    quantity = sum(left, ZERO)
    _check_bounds(position, open_lots, quantity, ratio)
    added = quantity - position.quantity
    if added == 0:
        return Applied()  # crumbs that stay what they are

    ways = (Ledger.STREET, Ledger.SHARES) if added > 0 else (Ledger.SHARES, Ledger.STREET)
    drafted = ledger.draft(
        account,
        kind=PostingKind.SPLIT,
        moves=[Move(position.instrument_id, *ways, abs(added))],
        at=at,
        trade_date=trade_date,
        reference=reference,
    )
    day = positions.begin_day(position, trade_date)
    position.day_open_quantity = quantity if day else ratio.of(position.day_open_quantity)
    position.quantity = quantity
    position.updated_at = at
    _scale(position, open_lots, left, ratio)
    positions.tell_totals(position, drafted.postings[0])
    return Applied(drafted, day, added, list(open_lots))


def _check_bounds(position: Position, lots: list[Lot], quantity: Decimal, ratio: Ratio) -> None:
    if abs(quantity) > QUANTITY_MAX:
        raise BoundExceeded("position out of bounds", quantity=quantity, limit=QUANTITY_MAX)
    kept = [position.day_open_quantity, *(lot.quantity_opened for lot in lots)]
    largest = max(abs(ratio.of(each)) for each in kept)
    if largest > KEPT_QUANTITY_MAX:
        raise BoundExceeded("lot out of bounds", quantity=largest, limit=KEPT_QUANTITY_MAX)
    dearest = max((ratio.price(lot.price) for lot in lots), default=ZERO)
    if dearest > KEPT_PRICE_MAX:
        raise BoundExceeded("price of a lot out of bounds", price=dearest, limit=KEPT_PRICE_MAX)


def _scale(position: Position, lots: list[Lot], left: list[Decimal], ratio: Ratio) -> None:
    position.day_opened_quantity = ZERO
    for lot, quantity in zip(lots, left, strict=True):
        lot.quantity_left = quantity
        lot.quantity_opened = ratio.of(lot.quantity_opened)
        lot.price = ratio.price(lot.price)
        if lot.opened_on is not None and lot.opened_on == position.day_on:
            position.day_opened_quantity += quantity


def book(action: CorporateAction, account: Account, *, actor: str) -> None:
    """Book a split in the locked account, in the caller's transaction; once. Open orders of the
    instrument are the caller's to end before, so that nothing is held."""
    if is_booked(action, account):
        return
    key = (account.pk, action.instrument_id)
    position = positions.load_positions([key]).get(key)
    entitlement = Entitlement(
        action=action, account=account, quantity=position.quantity if position else ZERO
    )
    if position is not None and position.quantity:
        assert position.hold_quantity == 0, "orders end before a split"
        try:
            entitlement.transaction = _book(action, account, position, actor)
        except BoundExceeded as error:
            entitlement.problem = error.message
    entitlement.save(force_insert=True)


def take_back(action: CorporateAction, account: Account, *, actor: str) -> None:
    """Take a split back in the locked account, in the caller's transaction; as `book` does it.

    Not where its shares moved since: `dividends.to_take_back` has found that out before.
    """
    entitlement = Entitlement.objects.get(action=action, account=account)
    key = (account.pk, action.instrument_id)
    position = positions.load_positions([key])[key]
    assert position.hold_quantity == 0, "orders end before a split is taken back"
    try:
        entitlement.reversal = _book(action, account, position, actor)
    except BoundExceeded as error:
        entitlement.problem = error.message
    entitlement.save(update_fields=["reversal", "problem"])


def is_booked(action: CorporateAction, account: Account) -> bool:
    """Whether this account is done."""
    return Entitlement.objects.filter(action=action, account=account).exists()


def _book(action: CorporateAction, account: Account, position: Position, actor: str) -> int | None:
    """Write all of it; the number of the transaction, None where nothing moved."""
    rows = Lot.objects.filter(account_id=account.pk, instrument_id=action.instrument_id)
    at = action.reverse_at or action.due_at
    applied = apply_split(
        account,
        position,
        list(rows.order_by("pk")),
        at=at,
        trade_date=market_clock().calendar.trading_date(at),
        reference=reference_of(action),
    )
    if applied.transaction is None:
        return None
    ledger.write([applied.transaction])
    insert_rows([applied.day] if applied.day else [])
    positions.save_positions([position])
    update_rows(applied.lots, ["price", "quantity_opened", "quantity_left"])
    _tell(action, account, position, applied.added, actor)
    ledger.save([account])
    return account.transaction_sequence


def _tell(
    action: CorporateAction, account: Account, position: Position, added: Decimal, actor: str
) -> None:
    """Its activity and its event."""
    at = action.reverse_at or action.due_at
    is_reversal = action.reverse_at is not None
    NonTradeActivity.objects.create(
        account=account,
        transaction=account.transaction_sequence,
        type=NonTradeActivity.Type.SPLIT,
        net_amount=ZERO,
        instrument=action.instrument,
        quantity=added,
        description=f"{action} taken back" if is_reversal else str(action),
        at=at,
        on=account.day_on or market_clock().calendar.trading_date(at),
    )
    log.record(
        "portfolios.position.split_taken_back" if is_reversal else "portfolios.position.split",
        actor=actor,
        subject=f"account:{account.public_id}",
        account=account,
        at=at,
        payload={
            "symbol": action.instrument.symbol,
            "ratio": f"{action.new_shares}:{action.old_shares}",
            "transaction": account.transaction_sequence,
            "qty": plain(position.quantity),
            "cost_basis": plain(position.cost_basis),
        },
    )
