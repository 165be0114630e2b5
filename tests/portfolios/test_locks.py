from __future__ import annotations

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from portfolios.errors import AccountNotFound
from portfolios.locks import lock_account, lock_accounts
from tests.meeting import LockedAccount, only_with_row_locks
from tests.portfolios.factories import funded_account

pytestmark = pytest.mark.django_db


def test_accounts_are_locked_in_the_order_of_their_ids():
    ids = [funded_account().pk for _ in range(3)]

    with CaptureQueriesContext(connection) as captured, transaction.atomic():
        locked = lock_accounts(reversed(ids))

    assert list(locked) == ids
    (query,) = [one["sql"] for one in captured if "portfolios_account" in one["sql"]]
    assert "ORDER BY" in query
    if connection.features.has_select_for_update:
        assert "FOR UPDATE" in query


def test_an_unknown_account_is_left_out_of_many_and_refused_alone():
    account = funded_account()

    with transaction.atomic():
        assert list(lock_accounts([account.pk, 10**9])) == [account.pk]
        with pytest.raises(AccountNotFound):
            lock_account(10**9)


@pytest.mark.django_db(transaction=True)
def test_a_lock_outside_a_transaction_is_a_bug():
    with pytest.raises(AssertionError):
        lock_accounts([1])


@pytest.mark.django_db(transaction=True)
def test_accounts_that_somebody_holds_are_skipped_not_waited_for():
    only_with_row_locks()
    accounts = [funded_account() for _ in range(3)]
    ids = [account.pk for account in accounts]

    with LockedAccount(accounts[1]), transaction.atomic():
        assert list(lock_accounts(ids, skip_locked=True)) == [ids[0], ids[2]]
