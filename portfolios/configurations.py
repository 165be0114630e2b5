"""What an account's owner may choose for it, in the trading API's words.

Some of Alpaca's choices do not exist at this venue. They are shown with the one value they have,
and asking for another is refused rather than forgotten.

`max_margin_multiplier` makes the account a cash account ("1") or a margin account ("2", or "4"
during the session).
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from functools import partial

from django.db import transaction

from events import log
from events.transactions import retried
from portfolios.borrowing import OwnMarks, margin_locked, with_marks
from portfolios.errors import ConfigurationInvalid, InsufficientMargin
from portfolios.locks import lock_account
from portfolios.margin import CASH, INTRADAY, MARGIN
from portfolios.models import Account, LotMethod
from quotes.amounts import plain
from quotes.clock import market_clock

ZERO = Decimal(0)

MULTIPLIER = "max_margin_multiplier"
MULTIPLIERS = {str(each): each for each in (CASH, MARGIN, INTRADAY)}
SWITCHES = ("suspend_trade", "no_shorting", "fractional_trading")
CHOICES = (*SWITCHES, "lot_method", MULTIPLIER)
# Lots are named by an order, so an account cannot name them in advance.
LOT_METHODS = (LotMethod.FIFO, LotMethod.LIFO, LotMethod.HIFO)

WRITTEN_FIELDS = (
    "trading_suspended",
    "shorting",
    "fractional_trading",
    "lot_method",
    "multiplier",
    "event_sequence",
)

FIXED: Mapping[str, object] = {
    "trade_confirm_email": "none",
    "ptp_no_exception_entry": False,
    "dtbp_check": None,
    "pdt_check": None,
    "max_options_trading_level": None,
}


def configuration(account: Account) -> dict[str, object]:
    """All of Alpaca's configuration keys with the values they have for this account."""
    return {
        **FIXED,
        "suspend_trade": account.trading_suspended,
        "no_shorting": not account.shorting,
        "fractional_trading": account.fractional_trading,
        "lot_method": account.lot_method,  # beyond Alpaca's
        MULTIPLIER: str(account.multiplier),
    }


def configure(*, account_id: int, changes: Mapping[str, object], actor: str) -> Account:
    """Change the named choices; a value of None leaves one as it is, unknown names are ignored.

    Raises AccountNotFound, ConfigurationInvalid, and InsufficientMargin where the account cannot
    do with the multiplier it asks for.
    """
    wanted = {name: value for name, value in changes.items() if value is not None}
    _check(wanted)
    return with_marks(account_id, partial(_configure, account_id, wanted, actor))


@retried
@transaction.atomic(durable=True)
def _configure(
    account_id: int, wanted: Mapping[str, object], actor: str, marks: OwnMarks | None
) -> Account:
    account = lock_account(account_id)

    before = configuration(account)
    after = {
        name: wanted[name] for name in CHOICES if wanted.get(name, before[name]) != before[name]
    }
    if not after:
        return account

    if MULTIPLIER in after:
        _change_multiplier(account, MULTIPLIERS[str(after[MULTIPLIER])], marks)
    account.trading_suspended = bool(after.get("suspend_trade", account.trading_suspended))
    account.shorting = not after.get("no_shorting", not account.shorting)
    account.fractional_trading = bool(after.get("fractional_trading", account.fractional_trading))
    account.lot_method = str(after.get("lot_method", account.lot_method))

    log.record(
        "portfolios.account.configured",
        actor=actor,
        subject=f"account:{account.public_id}",
        account=account,
        at=market_clock().now(),
        payload={"before": {name: before[name] for name in after}, "after": after},
    )
    account.save(update_fields=WRITTEN_FIELDS)
    return account


def _change_multiplier(account: Account, multiplier: int, marks: OwnMarks | None) -> None:
    """Borrowing less takes that the account can do with it: what open orders hold was reckoned
    with the old multiplier, so there must be none that open anything."""
    lower = multiplier < account.multiplier
    account.multiplier = multiplier
    if not lower:
        return
    margin = margin_locked(account, marks)
    if account.hold_cash:
        raise InsufficientMargin(
            "cancel the open orders that open positions first", held=plain(account.hold_cash)
        )
    lacking = margin.cash_of_its_own if multiplier == CASH else margin.excess
    if lacking < 0 or (multiplier == CASH and margin.has_shorts):
        raise InsufficientMargin(
            f"positions need more than a multiplier of {multiplier} allows",
            equity=plain(margin.equity),
            lacking=plain(-min(lacking, ZERO)),
        )


def _check(wanted: Mapping[str, object]) -> None:
    if MULTIPLIER in wanted and wanted[MULTIPLIER] not in tuple(MULTIPLIERS):
        raise ConfigurationInvalid(f'{MULTIPLIER} must be one of "1", "2" and "4"')
    for name in SWITCHES:
        if name in wanted and not isinstance(wanted[name], bool):
            raise ConfigurationInvalid(f"{name} must be true or false")
    if wanted.get("lot_method", LotMethod.FIFO) not in LOT_METHODS:
        raise ConfigurationInvalid(f"lot_method must be one of {', '.join(LOT_METHODS)}")
    for name, value in FIXED.items():
        if name in wanted and (wanted[name] != value or type(wanted[name]) is not type(value)):
            raise ConfigurationInvalid(f"{name} can only be {value} at this venue")
