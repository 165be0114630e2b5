"""Why trading says no, with the numbers that explain it.

Invalid                          422/40010001  malformed, repeating it changes nothing
├── DuplicateClientOrderId
└── InvalidOrder
Refused                          422/42210000  well-formed but not allowed
├── NotOffered                   a feature of the contract that this venue does not have yet
├── LotsNotFound                 the account has no such lots for the order to close
├── NotTradable
├── NoUsablePrice
├── OrderFinished
└── OrderRuleBroken              increments, bounds, fractional rules
Forbidden                        403/40310000
├── AccountBlocked
├── InsufficientBuyingPower
├── InsufficientQuantity
├── OrderForced              the floor placed it, so its owner neither cancels nor replaces it
├── ShortingForbidden
└── WashTrade
NotFound                         404/40410000
└── OrderNotFound
Unavailable                      could not be decided, nothing was stored
└── AccountBusy                  429/42910000
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from events.errors import Forbidden, Invalid, NotFound, Refused, Unavailable
from quotes.amounts import plain


class InvalidOrder(Invalid):
    """A field is missing, superfluous, or does not fit the others."""


class DuplicateClientOrderId(Invalid):
    message = "client_order_id must be unique"


class NotOffered(Refused):
    """Part of the wire contract that this venue does not offer yet."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} is not offered yet")


class LotsNotFound(Refused):
    def __init__(self, symbol: str, missing: Iterable[int]) -> None:
        lots = ", ".join(map(str, missing))
        super().__init__(f"no lots of {symbol} to close: {lots}", symbol=symbol, lots=lots)


class NotTradable(Refused):
    def __init__(self, symbol: str) -> None:
        super().__init__(f"asset {symbol} is not tradable", symbol=symbol)


class NoUsablePrice(Refused):
    """A market order needs a quote when the market is open, and some price when it is closed."""


class OrderRuleBroken(Refused):
    """Sub-penny prices, amounts out of bounds, fractions where they are not allowed."""


class OrderFinished(Refused):
    def __init__(self, status: str) -> None:
        super().__init__(f'order is already in "{status}" state', status=status)


class AccountBlocked(Forbidden):
    message = "new orders are rejected by user request"


class InsufficientBuyingPower(Forbidden):
    def __init__(self, *, buying_power: Decimal, cost_basis: Decimal) -> None:
        super().__init__(
            "insufficient buying power",
            buying_power=plain(buying_power),
            cost_basis=plain(cost_basis),
        )


class InsufficientQuantity(Forbidden):
    """Fewer free shares than the sell wants; `held` are those reserved by open sells."""

    def __init__(
        self, *, symbol: str, requested: Decimal, existing: Decimal, held: Decimal
    ) -> None:
        available = plain(existing - held)
        super().__init__(
            "insufficient qty available for order "
            f"(requested: {plain(requested)}, available: {available})",
            symbol=symbol,
            available=available,
            existing_qty=plain(existing),
            held_for_orders=plain(held),
        )


class OrderForced(Forbidden):
    """An order that closes a position by force is neither canceled nor replaced by its owner."""

    def __init__(self, order_id: object) -> None:
        super().__init__(
            "this order closes a position that the account could not keep, "
            "and only an operator can cancel it",
            order_id=order_id,
        )


class ShortingForbidden(Forbidden):
    """By its owner's choice, or because it has too little equity: then the error says how much."""

    message = "account is not allowed to short"


class WashTrade(Forbidden):
    """It could trade with an open order of the same account, or opens what that one closes."""

    message = "potential wash trade detected. use complex orders"


class OrderNotFound(NotFound):
    def __init__(self, order_id: object) -> None:
        super().__init__(f"order not found for {order_id}")


class AccountBusy(Unavailable):
    """Too many requests of one account wait in this process already."""

    code = 42910000
    http_status = 429
    message = "rate limit exceeded: too many requests wait for this account"
    retry_after_seconds = 1
