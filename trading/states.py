"""The life of an order: one table of legal transitions, and the named sets of states.

Nothing else in Openbell decides whether an order may change its state. The table is the wire
contract's, with three notes: `pending_cancel` and `pending_replace` are never written, because a
cancel is final under the account's lock; `suspended` is where the engine parks an order that it
could not settle, so that the rest of the market goes on; and a `held` leg is `accepted` where its
entry ends after it was filled in part, for then nobody but the engine's admission can take it in.
"""

from __future__ import annotations

from datetime import datetime

from trading.models import Order, OrderStatus

TRANSITIONS: dict[OrderStatus, frozenset[OrderStatus]] = {
    OrderStatus.ACCEPTED: frozenset(
        {
            OrderStatus.NEW,
            OrderStatus.CANCELED,
            OrderStatus.EXPIRED,
            OrderStatus.REJECTED,
            OrderStatus.SUSPENDED,
        }
    ),
    OrderStatus.NEW: frozenset(
        {
            OrderStatus.PARTIALLY_FILLED,
            OrderStatus.FILLED,
            OrderStatus.CANCELED,
            OrderStatus.EXPIRED,
            OrderStatus.REPLACED,
            OrderStatus.SUSPENDED,
        }
    ),
    OrderStatus.PARTIALLY_FILLED: frozenset(
        {
            OrderStatus.PARTIALLY_FILLED,
            OrderStatus.FILLED,
            OrderStatus.CANCELED,
            OrderStatus.EXPIRED,
            OrderStatus.REPLACED,
            OrderStatus.SUSPENDED,
        }
    ),
    OrderStatus.HELD: frozenset(
        {
            OrderStatus.ACCEPTED,
            OrderStatus.NEW,
            OrderStatus.REPLACED,
            OrderStatus.CANCELED,
            OrderStatus.EXPIRED,
        }
    ),
    OrderStatus.SUSPENDED: frozenset({OrderStatus.CANCELED, OrderStatus.EXPIRED}),
    OrderStatus.FILLED: frozenset(),
    OrderStatus.CANCELED: frozenset(),
    OrderStatus.EXPIRED: frozenset(),
    OrderStatus.REPLACED: frozenset(),
    OrderStatus.REJECTED: frozenset(),
}

TERMINAL = frozenset(status for status, following in TRANSITIONS.items() if not following)
OPEN = frozenset(TRANSITIONS) - TERMINAL
CANCELABLE = frozenset(
    status for status, following in TRANSITIONS.items() if OrderStatus.CANCELED in following
)
# In the book: the engine has admitted it, and a fill may be settled.
FILLABLE = frozenset({OrderStatus.NEW, OrderStatus.PARTIALLY_FILLED})
REPLACEABLE = frozenset(
    status for status, following in TRANSITIONS.items() if OrderStatus.REPLACED in following
)

# The column that tells when an order entered a state, where there is one.
ENTERED_AT = {
    OrderStatus.FILLED: "filled_at",
    OrderStatus.CANCELED: "canceled_at",
    OrderStatus.EXPIRED: "expired_at",
    OrderStatus.REPLACED: "replaced_at",
    OrderStatus.REJECTED: "failed_at",
}


class IllegalTransition(AssertionError):
    """A bug of ours: a caller did not check the state under the lock."""


def transition(order: Order, to: OrderStatus, at: datetime, reason: str = "") -> None:
    """Move the order on, in memory; `at` is market time and never runs back within an order."""
    if to not in TRANSITIONS[OrderStatus(order.status)]:
        raise IllegalTransition(f"{order.public_id}: {order.status} → {to}")
    at = max(at, order.updated_at)
    order.status = to
    order.updated_at = at
    order.reason = reason
    if column := ENTERED_AT.get(to):
        setattr(order, column, at)
