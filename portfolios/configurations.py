"""What an account's owner may choose for it, in the trading API's words.

Some of Alpaca's choices do not exist at this venue. They are shown with the one value they have,
and asking for another is refused rather than forgotten.
"""

from __future__ import annotations

from collections.abc import Mapping

from django.db import transaction

from events import log
from events.transactions import retried
from portfolios.errors import ConfigurationInvalid
from portfolios.locks import lock_account
from portfolios.models import Account, LotMethod
from quotes.clock import market_clock

SWITCHES = ("suspend_trade", "no_shorting", "fractional_trading")
CHOICES = (*SWITCHES, "lot_method")
# Lots are named by an order, so an account cannot name them in advance.
LOT_METHODS = (LotMethod.FIFO, LotMethod.LIFO, LotMethod.HIFO)

WRITTEN_FIELDS = (
    "trading_suspended",
    "shorting",
    "fractional_trading",
    "lot_method",
    "event_sequence",
)

FIXED: Mapping[str, object] = {
    "max_margin_multiplier": "1",
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
    }


@retried
@transaction.atomic(durable=True)
def configure(*, account_id: int, changes: Mapping[str, object], actor: str) -> Account:
    """Change the named choices; a value of None leaves one as it is, unknown names are ignored.

    Raises AccountNotFound, ConfigurationInvalid.
    """
    account = lock_account(account_id)

    before = configuration(account)
    wanted = {name: value for name, value in changes.items() if value is not None}
    _check(wanted)
    after = {
        name: wanted[name] for name in CHOICES if wanted.get(name, before[name]) != before[name]
    }
    if not after:
        return account

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


def _check(wanted: Mapping[str, object]) -> None:
    for name in SWITCHES:
        if name in wanted and not isinstance(wanted[name], bool):
            raise ConfigurationInvalid(f"{name} must be true or false")
    if wanted.get("lot_method", LotMethod.FIFO) not in LOT_METHODS:
        raise ConfigurationInvalid(f"lot_method must be one of {', '.join(LOT_METHODS)}")
    for name, value in FIXED.items():
        if name in wanted and (wanted[name] != value or type(wanted[name]) is not type(value)):
            raise ConfigurationInvalid(f"{name} can only be {value} at this venue")
