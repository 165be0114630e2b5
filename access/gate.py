"""Who may take the short ways before Django, and what it costs them.

A hot read is let in from memory alone: only a key that an ordinary request has brought in is known
there, for two seconds at most (`access.lookups`); whoever is not known takes the ordinary way, and
is known after it. News of a revocation shortens that. An order's key is looked up as everywhere.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from access import limits, lookups
from access.authentication import Credential, authenticate_key


class Gate:
    """What `quotes.api.hot` and `trading.api.hot` ask about a request."""

    def let_in(self, key_id: str, secret: str) -> Credential | None:
        """Who holds this key; None for a key that does not work."""
        return authenticate_key(key_id, secret)

    def recognise(self, key_id: str, secret: str, *, may_wait: bool) -> str | None:
        """Who holds this key, as limits name them; None for whom memory does not know."""
        known = lookups.remembered_key(key_id, may_wait=may_wait)
        return f"key:{key_id}" if known is not None and known.opens_with(secret) else None

    def pass_through(
        self, actor: str, path: str, *, may_wait: bool
    ) -> list[tuple[str, str]] | None:
        """Count a request: the rate limit headers of its answer, or None when there are too many.

        The ordinary way then says so; a request that is refused may be counted twice. Who may not
        wait hears None, too, where tokens must be drawn first.
        """
        spend = limits.spend if may_wait else limits.spend_from_memory
        spent = spend(actor, path, time.time())
        return limits.rate_headers(spent) if spent is not None and spent.allowed else None

    def hear(self, news: Mapping[str, Any]) -> None:
        """Forget whom the news shuts out."""
        if news["kind"] == "key_revoked":
            lookups.forget_key(news["key_id"])
        elif news["kind"] == "user_disabled":
            lookups.forget_user(news["user_id"])


gate = Gate()
