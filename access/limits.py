"""How many requests a caller may make in a minute, counted in this process.

The setting RATE_LIMIT_PER_MINUTE is a million unless the environment says otherwise: more than one
process can answer, so programs trade on their own machine without a limit, yet find the headers
that they find at Alpaca. Trading and market data are counted apart.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from typing import Any

from django.conf import settings
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from access.errors import RateLimited

WINDOW_SECONDS = 60
DATA_PATHS = "/v2/stocks/"


class Window:
    """Counts per caller within the current minute; the next minute starts empty."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ends_at = 0
        self._spent: Counter[str] = Counter()

    def spend(self, caller: str, now: float) -> tuple[int, int]:
        """Count one request; how many this minute has seen, and when it ends (epoch seconds)."""
        with self._lock:
            if now >= self._ends_at:
                self._ends_at = (int(now) // WINDOW_SECONDS + 1) * WINDOW_SECONDS
                self._spent.clear()
            self._spent[caller] += 1
            return self._spent[caller], self._ends_at


class RequestLimit(BaseThrottle):
    """Counts every request that a credential came with, and tells the caller what is left."""

    window = Window()

    def allow_request(self, request: Request, view: Any) -> bool:
        credential: Any = request.auth
        if credential is None:
            return True
        kind = "data" if request.path.startswith(DATA_PATHS) else "trading"
        now = time.time()
        spent, ends_at = self.window.spend(f"{kind} {credential.actor}", now)
        limit = settings.RATE_LIMIT_PER_MINUTE
        view.headers["X-RateLimit-Limit"] = str(limit)
        view.headers["X-RateLimit-Remaining"] = str(max(limit - spent, 0))
        view.headers["X-RateLimit-Reset"] = str(ends_at)
        if spent > limit:
            raise RateLimited(retry_after_seconds=max(1, round(ends_at - now)))
        return True
