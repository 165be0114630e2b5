"""What each of the four cache layers may keep, and for how long: the one table.

    browser, CDN     `ROUTES`: the Cache-Control of an answer, by the path that it answers
    Redis, queries   `NAMESPACES`: values of `caches["quotes"]`, by the name that apps call them

A route that the table does not name has no policy, and a test refuses it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

PRIVATE = "private, no-store"
IMMUTABLE = "max-age=315360000, public, immutable"  # WhiteNoise's, for names that hold a hash


@dataclass(frozen=True, slots=True)
class RoutePolicy:
    """What browsers and the edge may keep of the successful answers below a path."""

    path: re.Pattern[str]
    cache_control: str = PRIVATE

    @property
    def is_shared(self) -> bool:
        """Whether one answer serves everybody, so that it may depend on nobody."""
        return self.cache_control != PRIVATE


@dataclass(frozen=True, slots=True, kw_only=True)
class Namespace:
    """How long values of one kind live, and how long one that loads them keeps others waiting.

    A value is *fresh* for `fresh_seconds`, less a random part of it (`jitter`), so that what was
    loaded together is not due together. For `stale_seconds` more it is answered while one loads.
    """

    fresh_seconds: float
    stale_seconds: float
    lock_seconds: float = 3.0  # longer than a load takes; a dead holder keeps others that long
    wait_seconds: float = 5.0  # for somebody else's load; then 503
    jitter: float = 0.1
    # After the namespace was forgotten nothing is kept so long: a replica may not know it yet.
    settle_seconds: float = 0.0
    version: int = 1  # raise it when what is kept under this name changes its shape


# While one caller's request renews an answer, others are given the old one, so long at most. The
# edge drops what nobody has asked for in 5 s: an answer that has ended is younger than this there,
# or gone, and either way a crowd that asks for it sends us one request. Where renewing fails, no
# one is given an old one: nginx and CDNs would, unless told not to.
RENEWING_SECONDS = 6


def _shared(seconds: int) -> str:
    renewing = f"stale-while-revalidate={RENEWING_SECONDS}, stale-if-error=0"
    return f"public, max-age={seconds}, s-maxage={seconds}, {renewing}"


ROUTES = tuple(
    RoutePolicy(re.compile(path), cache_control)
    for path, cache_control in (
        (r"/static/.*", IMMUTABLE),
        (r"/public/market", _shared(60)),
        (r"/public/quotes", _shared(5)),
        (r"/public(/.*)?", PRIVATE),  # what does not exist there
        (r"/(v1|v1beta1|v1beta3|v2|v3|api)(/.*)?", PRIVATE),
        (r"/admin/.*", PRIVATE),
        (r"/(login|logout|signup|accounts|accounts/open)?", PRIVATE),
        (r"/(healthz|readyz|metrics)", PRIVATE),
    )
)

NAMESPACES = {
    # Who may do what. Never a stale one, for it may say that somebody is let in who no longer is;
    # whoever changes a user drops the record.
    "users": Namespace(fresh_seconds=60, stale_seconds=0, version=2),
    # Halts and operators change them; whoever does says so (`forget`), time is the net. Stale ones
    # still answer where the database does not.
    "assets": Namespace(fresh_seconds=60, stale_seconds=600),
    # Quotes stand in a store of their own until the feed replaces them (quotes/latest). Time ends
    # only the belief that a symbol has none, and what stands in while Redis is away. A holder that
    # dies keeps an order waiting for its quote, so the lock is short; a load takes milliseconds.
    "latest": Namespace(fresh_seconds=5, stale_seconds=0, lock_seconds=1.0),
    # Pages of bars that ended before the market's day began (quotes/finished_bars): a query result.
    # Whatever is written there begins a new generation, also by an import. Pages that reach into
    # the day are never kept. Loads read replicas: longer than those may lag (2 s) and a load takes.
    "bars": Namespace(fresh_seconds=45, stale_seconds=15, settle_seconds=6),
    # What full blocks of an account's transactions did (portfolios/moves). It never changes, so
    # time ends it only to make room.
    "moves": Namespace(fresh_seconds=21_600, stale_seconds=0),
}


def route_policy(path: str) -> RoutePolicy | None:
    """The policy of the first route that the path fits; None for a path that nobody named."""
    return next((policy for policy in ROUTES if policy.path.fullmatch(path)), None)


def cache_control(path: str, status: int) -> str:
    """The Cache-Control of an answer. Only success is shared, what nobody named is private."""
    policy = route_policy(path)
    return PRIVATE if policy is None or status != 200 else policy.cache_control
