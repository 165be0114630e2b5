"""The relay: gives every committed event its global number and its link of the hash chain.

One process at a time does so, the owner of a lease; others stand by. Numbers are gap-free. Across
accounts their order is the relay's, within an account it is that of the account's own numbers: an
event is committed before the next one of its account is written, and has the lower id.

A batch is one transaction under the lease and the lock of the one chain-head row. It is short, for
on SQLite everybody else waits for it.
"""

from __future__ import annotations

import logging
import secrets
import threading

from django.db import InterfaceError, OperationalError, connection, transaction
from django.db.models import QuerySet
from prometheus_client import Counter

from events import chain
from events.bulk import update_rows
from events.leases import Lease, LeaseLost, wait_for
from events.models import ChainHead, Event, Salt

LEASE_NAME = "relay"
BATCH = 100  # events in one transaction
IDLE_SECONDS = 0.25
RETRY_SECONDS = 0.5
SALT_BYTES = 16

SEQUENCED = Counter("openbell_events_sequenced_total", "Events that got their place in the chain.")

logger = logging.getLogger(__name__)


def run_relay(stop: threading.Event) -> None:
    """Own the relay's lease and chain events until `stop` is set; stand by while another does."""
    try:
        while not stop.is_set():
            try:
                lease = wait_for(LEASE_NAME, stop)
                if lease is not None:
                    _own(lease, stop)
            except LeaseLost as lost:
                logger.warning("standing by: %s", lost)
            except (OperationalError, InterfaceError) as error:
                logger.warning("the database is away: %s", error)
                stop.wait(RETRY_SECONDS)
                connection.close()
    finally:
        connection.close()


def _own(lease: Lease, stop: threading.Event) -> None:
    ChainHead.objects.bulk_create(
        [ChainHead(pk=ChainHead.ONLY, sequence=0, hash=chain.GENESIS)], ignore_conflicts=True
    )
    while not stop.is_set():
        if sequence_batch(lease) == BATCH:
            continue
        stop.wait(IDLE_SECONDS)
        lease.renew_if_due()
    lease.release()


def sequence_batch(lease: Lease) -> int:
    """Chain the next events, at most BATCH; returns how many. LeaseLost when it is another's."""
    if not _unchained().exists():  # looked at without a lock: most of the time there is none
        return 0
    with transaction.atomic():
        lease.lock_and_check()
        head = ChainHead.objects.select_for_update().get(pk=ChainHead.ONLY)
        events = list(_unchained()[:BATCH])

        salts = _salts(events)
        for event in events:
            head.sequence += 1
            head.hash = chain.seal(
                event, sequence=head.sequence, before=head.hash, salt=salts[event.account_id]
            )

        update_rows(events, ["sequence", "digest", "hash"])
        head.save(update_fields=["sequence", "hash"])
    SEQUENCED.inc(len(events))
    return len(events)


def _unchained() -> QuerySet[Event]:
    return Event.objects.filter(sequence=None).order_by("id")


def _salts(events: list[Event]) -> dict[int | None, bytes]:
    """The accounts' salts; an account's first event makes it one."""
    salts = chain.salts_of(events)
    new = {event.account_id for event in events if event.account_id is not None} - salts.keys()
    made = [Salt(account_id=account, salt=secrets.token_hex(SALT_BYTES)) for account in new]
    Salt.objects.bulk_create(made)
    return salts | {salt.account_id: bytes.fromhex(salt.salt) for salt in made}
