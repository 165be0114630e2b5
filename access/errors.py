"""Refusals at the gate.

Refused
├── RateLimited        too many requests of one caller within a minute
└── TooManyKeys        an account keeps a bounded number of keys
"""

from __future__ import annotations

from events.errors import Refused


class RateLimited(Refused):
    """The caller has spent its minute. `retry_after_seconds` says when the next one begins."""

    code = 42910000
    http_status = 429
    message = "rate limit exceeded"

    def __init__(self, *, retry_after_seconds: int) -> None:
        super().__init__()
        self.retry_after_seconds = retry_after_seconds


class TooManyKeys(Refused):
    """The account has as many working keys as it may have."""

    message = "the account has too many keys, revoke one first"
