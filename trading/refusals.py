"""What was refused and why, for the event log. A refusal stores nothing else."""

from __future__ import annotations

import logging
from uuid import UUID

from django.db import DatabaseError, transaction

from events import log
from events.errors import OpenbellError, Refused
from events.transactions import retried
from portfolios.errors import AccountNotFound
from portfolios.locks import lock_account
from quotes.clock import market_clock
from trading.wire import subject

logger = logging.getLogger(__name__)


def record_refusal(
    account_id: int,
    asked: dict[str, str],
    refusal: Refused,
    actor: str,
    order_id: UUID | None = None,
) -> None:
    """Leave a trace of what was asked for, of an order that there is with that order. The refusal
    stands even where this fails."""
    try:
        _write_refusal(account_id, asked, refusal, actor, order_id)
    except AccountNotFound:
        return
    except (OpenbellError, DatabaseError):
        logger.exception("a refusal of account %s was not recorded", account_id)


@retried
@transaction.atomic(durable=True)
def _write_refusal(
    account_id: int, asked: dict[str, str], refusal: Refused, actor: str, order_id: UUID | None
) -> None:
    account = lock_account(account_id)

    log.record(
        "trading.order.refused",
        actor=actor,
        subject=subject(order_id) if order_id else f"account:{account.public_id}",
        account=account,
        at=market_clock().now(),
        payload={"request": _storable(asked), "refusal": refusal.body()},
    )
    account.save(update_fields=["event_sequence"])


def _storable(asked: dict[str, str]) -> dict[str, str]:
    """Lone surrogates are no text that a column can hold; they are kept as what they look like."""
    return {name: text.encode(errors="backslashreplace").decode() for name, text in asked.items()}
