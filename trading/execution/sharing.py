"""How execution processes share the shards: each owns about as many.

Whoever stands by takes a shard that has no owner at once, however many it has: no order waits for
balance. A process with two shards less than another asks for one, through a lease that says who
asks; whoever has two more than that one settles what waits in a shard and lets go of it.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter

from django.db import InterfaceError, OperationalError, connection

from events import leases
from events.leases import Lease, LeaseLost
from trading.execution.shards import Shard

ASKING = "execution asks"
LOOK_SECONDS = 0.5
ASIDE_SECONDS = 2.0  # for so long whoever let go of a shard leaves it to others

logger = logging.getLogger(__name__)


class Sharing:
    """One process's part in it. `watch` runs in a thread of its own; the rest may be asked by
    any."""

    def __init__(self, shards: list[Shard], me: str | None = None) -> None:
        self._shards = shards
        self._me = me or leases.process_name()
        self._asking: Lease | None = None
        self._given: Shard | None = None

    def is_to_go(self, shard: Shard) -> bool:
        """Whether this process is to let go of that shard."""
        return self._given == shard

    def has_gone(self, shard: Shard) -> None:
        """It has let go of it, or lost it."""
        if self._given == shard:
            self._given = None

    def watch(self, stop: threading.Event) -> None:
        """Look around again and again until `stop`."""
        try:
            while not stop.wait(LOOK_SECONDS):
                try:
                    self.look()
                except (OperationalError, InterfaceError) as error:
                    logger.warning("shards are not shared out, the database is away: %s", error)
                    connection.close()
                except Exception:
                    logger.exception("shards could not be shared out")
            self._ask_no_more()
        finally:
            connection.close()

    def look(self) -> None:
        """Ask for a shard where another process has two more, or choose the one to let go of."""
        owned = self._owned()
        counts = Counter(owned.values())
        mine = counts[process_of(self._me)]
        if mine + 2 <= max(counts.values(), default=0):
            self._ask()
        else:
            self._ask_no_more()
            asks = leases.owner_of(ASKING)
            if asks is None or self._given is not None:
                return
            free = len(self._shards) - len(owned)  # it is about to take them
            if mine >= counts[process_of(asks)] + free + 2:
                self._let_go(owned)

    def _owned(self) -> dict[Shard, str]:
        """Which process owns each shard that has an owner."""
        by_name = leases.owners([shard.lease_name for shard in self._shards])
        return {
            shard: process_of(by_name[shard.lease_name])
            for shard in self._shards
            if shard.lease_name in by_name
        }

    def _let_go(self, owned: dict[Shard, str]) -> None:
        mine = [shard for shard, process in owned.items() if process == process_of(self._me)]
        self._given = max(mine)
        logger.info("letting go of %s for a process with fewer shards", self._given.lease_name)

    def _ask(self) -> None:
        try:
            if self._asking is None:
                self._asking = leases.acquire(ASKING, self._me)
            else:
                self._asking.renew()
        except LeaseLost:
            self._asking = None

    def _ask_no_more(self) -> None:
        if self._asking is not None:
            self._asking.release()
            self._asking = None


def process_of(owner: str) -> str:
    """The process that an owner is a thread of."""
    return owner.rpartition(":")[0]
