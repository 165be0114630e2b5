"""Refusals at the gate.

Invalid
└── IdempotencyKeyInvalid
Refused
├── AnotherAccount         409  asked by a page of another account than its session acts for
├── AnswerLost             409  done under this Idempotency-Key, and its answer is gone
├── IdempotencyKeyReused        an Idempotency-Key that came with another request before
├── OrdersStillOpen             an account with open orders is not reset: call again
├── RateLimited            429  too many requests of one caller within a minute
└── TooManyKeys                 an account keeps a bounded number of keys
"""

from __future__ import annotations

from events.errors import Invalid, Refused


class IdempotencyKeyInvalid(Invalid):
    def __init__(self, *, maximum: int) -> None:
        super().__init__(
            f"Idempotency-Key must be 1 to {maximum} printable ASCII characters without a space",
            maximum=maximum,
        )


class IdempotencyKeyReused(Refused):
    """One key is for one request. What it was for is done and stays as it is."""

    code = 42210001

    def __init__(self, key: str) -> None:
        super().__init__("this Idempotency-Key was used for another request", idempotency_key=key)


class AnotherAccount(Refused):
    """A page shows another account than its session acts for by now. Nothing was done."""

    code = 40910002
    http_status = 409
    message = "this page shows another account than the one you trade now, load it again"


class AnswerLost(Refused):
    """The request was carried out once and not again; `subject` is what it changed."""

    code = 40910001
    http_status = 409
    message = "this request was carried out before, and its answer cannot be given again"


class RateLimited(Refused):
    """The caller has spent its minute. `retry_after_seconds` says when the next one begins."""

    code = 42910000
    http_status = 429
    message = "rate limit exceeded"

    def __init__(self, *, limit: int, retry_after_seconds: int) -> None:
        super().__init__(limit=limit, retry_after_seconds=retry_after_seconds)
        self.retry_after_seconds = retry_after_seconds


class OrdersStillOpen(Refused):
    message = "orders of this account could not be canceled yet, reset it once more"


class TooManyKeys(Refused):
    """The account has as many working keys as it may have."""

    message = "the account has too many keys, revoke one first"
