"""Erasing what the event log tells of an account: its payloads and their salt go, the chain holds.

The headers stay, for the chain covers them: what kind of thing happened and when, its account and
its subject by their ids (an order's, a key's), who did it, and the request's name, which may be the
client's own X-Request-ID. What was asked for, paid and held goes.

An event that says so comes first, so that the audit knows an erased payload from an altered one at
every instant between, and another one when all is done. Whoever was killed in between begins again.
"""

from __future__ import annotations

from collections.abc import Callable

from django.db import transaction

from events import log
from events.chain import ERASED, lock_head
from events.models import Event, IdempotencyKey, Salt
from events.transactions import retried
from portfolios.errors import AccountNotClosed
from portfolios.locks import lock_account
from portfolios.models import Account
from quotes.clock import market_clock

SLICE = 1_000  # events of one transaction

Progress = Callable[[int, int], None]  # events looked at, and how many there are


def _silent(done: int, total: int) -> None:
    """Tell nobody."""


def erase_payloads(*, account_id: int, actor: str, progress: Progress = _silent) -> int:
    """Erase the payloads of all events that a closed account has; how many events that are.

    Raises AccountNotFound, AccountNotClosed: an open account's streams are told from its events.
    """
    begun = _begin(account_id, actor)
    for first in range(0, begun, SLICE):
        end = min(first + SLICE, begun)
        _erase(account_id, first, end)
        progress(end, begun)
    return _finish(account_id, actor, begun)


@retried
@transaction.atomic(durable=True)
def _begin(account_id: int, actor: str) -> int:
    """Say that it begins; the number of the event that says so."""
    return _say(_closed(account_id), actor)


@retried
@transaction.atomic(durable=True)
def _erase(account_id: int, first: int, end: int) -> None:
    """Erase the events from that number on, and before the other."""
    _blank(account_id, first, end)


@retried
@transaction.atomic(durable=True)
def _finish(account_id: int, actor: str, begun: int) -> int:
    """Erase what was recorded meanwhile, and the salt: whoever still has a payload cannot prove
    it any more. What is chained from here on has another salt. The relay waits meanwhile: what it
    has sealed before loses its salt here, and what it seals after it reads anew."""
    account = _closed(account_id)
    lock_head()

    end = _say(account, actor)

    _blank(account_id, begun, end)
    Salt.objects.filter(account_id=account_id).delete()
    IdempotencyKey.objects.filter(account_id=account_id).delete()  # its answers tell the same
    _forget_answers(account)
    return end - 1


def _closed(account_id: int) -> Account:
    """The account, locked. Raises AccountNotClosed."""
    account = lock_account(account_id)
    if account.status != Account.Status.CLOSED:
        raise AccountNotClosed
    return account


def _blank(account_id: int, first: int, end: int) -> None:
    numbered = Event.objects.filter(account_id=account_id, account_sequence__gte=first)
    numbered.filter(account_sequence__lt=end).update(payload={})


def _forget_answers(account: Account) -> None:
    """Those to its owner that tell of it beside another account, as of a transfer: whoever asks
    again under their keys is answered anew, from what there is then."""
    owners = IdempotencyKey.objects.filter(principal=f"user:{account.user_id}")
    owners.filter(answer__contains=account.number).update(status=None, answer="")


def _say(account: Account, actor: str) -> int:
    """Record that everything before this event is erased; its number."""
    event = log.record(
        ERASED,
        actor=actor,
        subject=f"account:{account.public_id}",
        account=account,
        at=market_clock().now(),
    )
    account.save(update_fields=["event_sequence"])
    assert event.account_sequence is not None
    return event.account_sequence
