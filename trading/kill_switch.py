"""The kill switch: one call stops an account and cancels all its open orders.

New orders are refused first, so that none slips in while the others are canceled. Positions stay as
they are. An owner trades on by switching `suspend_trade` off, an operator unfreezes the account.
"""

from __future__ import annotations

import time

from events.errors import OpenbellError
from portfolios import accounts
from trading.errors import AccountBusy
from trading.models import Order
from trading.orders import cancel_all

TRIES = 20
PAUSE_SECONDS = 0.1  # while requests that were let in before the stop are decided


def stop_trading(
    *, account_id: int, actor: str, reason: str, by_operator: bool = False
) -> list[tuple[Order, OpenbellError | None]]:
    """Stop the account, then cancel what is open; the outcomes are those of `cancel_all`.

    An owner cancels no order that closes a position by force, an operator these too. Raises
    AccountNotFound, AccountBusy, Unavailable: from then on the account is stopped all the same, and
    calling again cancels the rest.
    """
    accounts.stop(account_id=account_id, actor=actor, reason=reason, by_operator=by_operator)
    return cancel_what_is_left(account_id=account_id, actor=actor, even_forced=by_operator)


def cancel_what_is_left(
    *, account_id: int, actor: str, even_forced: bool
) -> list[tuple[Order, OpenbellError | None]]:
    """Cancel what is open of an account that takes no new orders any more, as `cancel_all` does.

    Waits for its turn behind the requests that came before, where there are too many for another to
    wait. Raises AccountNotFound, AccountBusy, Unavailable.
    """
    for _ in range(TRIES):
        try:
            return cancel_all(account_id=account_id, actor=actor, even_forced=even_forced)
        except AccountBusy:
            time.sleep(PAUSE_SECONDS)
    return cancel_all(account_id=account_id, actor=actor, even_forced=even_forced)
