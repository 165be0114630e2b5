"""The named lock queries. Lock order everywhere: lease, accounts by id, orders by id."""

from __future__ import annotations

from collections.abc import Iterable

from events.reads import find_rows
from portfolios.errors import AccountNotFound
from portfolios.models import Account


def lock_account(account_id: int) -> Account:
    """The account, locked until the transaction ends. Raises AccountNotFound."""
    account = lock_accounts([account_id]).get(account_id)
    if account is None:
        raise AccountNotFound
    return account


def lock_accounts(account_ids: Iterable[int], *, skip_locked: bool = False) -> dict[int, Account]:
    """The accounts by id, locked in id order.

    With `skip_locked` those that somebody else holds are left out instead of waited for; unknown
    ids are left out always.
    """
    locked = find_rows(Account, lock=True, skip_locked=skip_locked, id=set(account_ids))
    return {account.pk: account for account in locked}
