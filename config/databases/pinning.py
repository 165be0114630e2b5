"""Which accounts have changed so lately that a replica may not know it yet.

After a commit, and before anybody is told of it, `accounts_changed` marks its accounts in Redis;
reads of a marked account stay on the primary. A mark outlasts the greatest lag that a replica may
have. So whoever refetches because of a fill never reads behind it.

Redis may lose marks, and a lost mark must not look like none. So the marks count only while the
sentinel `KEPT` stands and `YOUNG` has expired: a flush takes both away, and whoever notices sets
both, which sends all account reads to the primary for as long as a mark may have lived. While
Redis does not answer, or there is none to share marks through, they go there too.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Iterable

from django.conf import settings
from django.core.cache import caches
from prometheus_client import Counter

BEYOND_LAG_SECONDS = 2.0  # a replica is looked at each second, and the look itself takes time
AWAY_SECONDS = 1.0  # after Redis failed, for so long nobody waits for it again
REPAIR_SECONDS = 0.05  # beyond what Redis is given to answer

KEPT = "pins:kept"
YOUNG = "pins:young"

LOST = Counter("openbell_pins_lost_total", "Marks of changed accounts that Redis did not take.")

log = logging.getLogger(__name__)


def accounts_changed(accounts: Iterable[int]) -> None:
    """Mark these accounts. Called after each commit, before its news leave; never raises."""
    if not _shared() or not settings.REPLICAS:
        return
    marks = {_mark(account_id): 1 for account_id in accounts}
    if not _is_away():
        try:
            caches["state"].set_many(marks, pin_seconds())
            return
        except Exception as error:  # the change is committed: its news must leave whatever this is
            log.warning("could not mark %d changed accounts: %s", len(marks), error)
            _note_away()
    LOST.inc(len(marks))
    _repair_later()


def is_pinned(account_id: int) -> bool:
    """Whether reads of the account have to stay on the primary."""
    if not _shared() or _is_away() or _repairing.locked():  # a mark is missing that we know of
        return True
    try:
        found = caches["state"].get_many([_mark(account_id), KEPT, YOUNG])
        if KEPT not in found:
            _begin_anew()
            return True
    except Exception as error:
        log.warning("account reads stay on the primary, Redis is away: %s", error)
        _note_away()
        return True
    return YOUNG in found or _mark(account_id) in found


def pin_seconds() -> int:
    """How long a mark lives. A replica that is fit then has what was committed before it."""
    return math.ceil(settings.REPLICA_LAG_MAX_SECONDS + BEYOND_LAG_SECONDS)


def _mark(account_id: int) -> str:
    return f"pin:{account_id}"


def _shared() -> bool:
    """A mark inside one process is none: a fill is made in another one."""
    return bool(settings.REDIS_STATE_URL)


def _begin_anew() -> None:
    """Trust the marks only once every one that was lost would have expired."""
    caches["state"].set(YOUNG, 1, pin_seconds())  # first, so that `KEPT` never stands alone
    caches["state"].set(KEPT, 1, None)


# --- Redis away ---------------------------------------------------------------------------------

_away_until = 0.0
_repairing = threading.Lock()


def _is_away() -> bool:
    return time.monotonic() < _away_until


def _note_away() -> None:
    global _away_until
    _away_until = time.monotonic() + AWAY_SECONDS


def _repair_later() -> None:
    """Have the marks distrusted as soon as Redis answers again, because one is missing."""
    if _repairing.acquire(blocking=False):
        threading.Thread(target=_repair, name="pins", daemon=True).start()


def _repair() -> None:
    global _away_until
    try:
        while True:
            try:
                _begin_anew()
                _away_until = 0.0
                return
            except Exception:  # still away
                time.sleep(REPAIR_SECONDS)
    finally:
        _repairing.release()
