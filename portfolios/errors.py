"""What the books refuse, and why.

Refused
├── NotFound
│   ├── AccountNotFound
│   ├── PositionNotFound
│   └── WatchlistNotFound
├── Forbidden
│   ├── AccountClosed
│   ├── AccountNotClosed       only what is closed can be erased
│   ├── InsufficientFunds      the account cannot pay this now
│   └── InsufficientMargin     what it holds needs the margin that it wants to give up
├── Invalid
│   ├── AmountInvalid          not an amount of USD that can be moved
│   ├── HistoryInvalid         a history that makes no sense, or is too much at once
│   ├── ConfigurationInvalid   a setting this venue does not offer
│   ├── WatchlistInvalid       a name or symbol that cannot be watched
│   └── WatchlistNameTaken
├── TooManyAccounts            a user keeps a bounded number of open accounts
└── BoundExceeded              a balance or a position would leave its bounds
"""

from __future__ import annotations

from events.errors import Forbidden, Invalid, NotFound, Refused


class AccountNotFound(NotFound):
    message = "account not found"


class PositionNotFound(NotFound):
    message = "position does not exist"


class WatchlistNotFound(NotFound):
    message = "watchlist not found"


class AccountClosed(Forbidden):
    message = "account is closed"


class AccountNotClosed(Forbidden):
    message = "close the account first"


class TooManyAccounts(Refused):
    message = "the user has too many open accounts"


class InsufficientFunds(Forbidden):
    message = "insufficient buying power"


class InsufficientMargin(Forbidden):
    message = "positions and open orders need the margin"


class AmountInvalid(Invalid):
    message = "amount must be a positive number of dollars and cents"


class HistoryInvalid(Invalid):
    message = "invalid portfolio history request"


class ConfigurationInvalid(Invalid):
    message = "invalid account configuration"


class WatchlistInvalid(Invalid):
    message = "invalid watchlist"


class WatchlistNameTaken(Invalid):
    message = "watchlist name must be unique"


class BoundExceeded(Refused):
    message = "beyond what an account may hold"
