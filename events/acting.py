"""For which account this thread works just now, as far as anybody has said.

Whoever lets a request in says it here, and the database router may ask: reads of an account that
has just changed go to the primary. Nothing that is decided by it may depend on its being right.
"""

from __future__ import annotations

from contextvars import ContextVar

account_id: ContextVar[int | None] = ContextVar("acting_account_id", default=None)
