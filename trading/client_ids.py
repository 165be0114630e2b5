"""The ids that clients give their orders: unique within an account, for ever."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import IntegrityError

from trading.errors import DuplicateClientOrderId
from trading.models import Order


def is_taken(account_id: int, client_order_id: str) -> bool:
    """Whether an order of the account has that id, open or not."""
    return Order.objects.filter(account_id=account_id, client_order_id=client_order_id).exists()


def check_free(account_id: int, client_order_id: str) -> None:
    """Raise DuplicateClientOrderId where the id is taken; "" is generated later and is free."""
    if client_order_id and is_taken(account_id, client_order_id):
        raise DuplicateClientOrderId


@contextmanager
def unique(account_id: int, client_order_id: str) -> Iterator[None]:
    """Around the transaction: where the unique index decides, that is DuplicateClientOrderId."""
    try:
        yield
    except IntegrityError:
        if not is_taken(account_id, client_order_id):
            raise
        raise DuplicateClientOrderId from None
