"""The relay: gives every committed event its global number and its link of the hash chain.

One process at a time does so, the owner of a lease; others stand by. Numbers are gap-free. Across
accounts their order is the relay's, within an account it is that of the account's own numbers: an
event is committed before the next one of its account is written, and has the lower id.

A batch is one transaction under the lease and the lock of the one chain-head row. It is short, for
on SQLite everybody else waits for it. The owner also signs the chain as it grows, and forgets
Idempotency-Keys whose day is over.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Sequence

from django.conf import settings
from django.db import InterfaceError, OperationalError, connection, transaction
from prometheus_client import Counter, Gauge

from events import chain, idempotency
from events.bulk import update_rows
from events.leases import Lease, LeaseLost, wait_for
from events.models import ChainHead, Event, Salt
from events.signing import UNSIGNED, Signer

LEASE_NAME = "relay"
BATCH = 50  # events in one transaction, which all other writers of SQLite wait for
AHEAD = 5_000  # ids read at a time: a look costs as much as there are events that wait
IDLE_SECONDS = 0.25
RETRY_SECONDS = 0.5
SALT_BYTES = 16
SWEEP_SECONDS = 60.0

SEQUENCED = Counter("openbell_events_sequenced_total", "Events that got their place in the chain.")
UNCHAINED = Gauge("openbell_events_unchained", f"Events that wait for it; {AHEAD} stand for more.")

logger = logging.getLogger(__name__)


def run_relay(stop: threading.Event) -> None:
    """Own the relay's lease and chain events until `stop` is set; stand by while another does."""
    try:
        while not stop.is_set():
            UNCHAINED.set(0)  # what waits is the owner's to tell
            UNSIGNED.set(0)
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
    signer = Signer(settings.AUDIT_HOME)
    swept_at = -SWEEP_SECONDS
    while not stop.is_set():
        waiting = unchained(AHEAD)
        UNCHAINED.set(len(waiting))
        for start in range(0, len(waiting), BATCH):
            if not stop.is_set():
                signer.sign_if_due(sequence(lease, waiting[start : start + BATCH]))
        signer.sign_if_due(0)
        if len(waiting) < AHEAD:
            if time.monotonic() - swept_at >= SWEEP_SECONDS:
                swept_at = _sweep()
            stop.wait(IDLE_SECONDS)
        lease.renew_if_due()
    signer.sign()
    lease.release()


def _sweep() -> float:
    """Forget the Idempotency-Keys whose day is over; returns when that was done."""
    while idempotency.sweep() == idempotency.SWEPT:
        pass
    return time.monotonic()


def unchained(count: int) -> list[int]:
    """The ids of the first events that have no number yet, at most so many; takes no lock.

    The index on `sequence` has the whole answer, in order. Left to itself, MariaDB may walk the
    table from its first event on, past all that are chained, where its statistics are of a time
    when more waited.
    """
    name, force = connection.ops.quote_name, ""
    if connection.vendor == "mysql":
        force = f"FORCE INDEX ({name('sequence')})"
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT id FROM {name(Event._meta.db_table)} {force}"
            f" WHERE {name('sequence')} IS NULL ORDER BY id LIMIT {int(count)}"
        )
        return [pk for (pk,) in cursor.fetchall()]


def sequence(lease: Lease, event_ids: Sequence[int]) -> int:
    """Chain these events in the order of their ids, unless they are; returns how many.

    LeaseLost when it is another's. Read before the transaction, to keep that short: nobody but the
    owner chains, so what the owner read stays so while the lease is its own. Only a payload may be
    erased meanwhile, and then its salt is gone, too.
    """
    rows = Event.objects.filter(pk__in=event_ids).order_by("id")
    events = [event for event in rows if event.sequence is None]
    with transaction.atomic():
        lease.lock_and_check()
        head = chain.lock_head()
        assert head is not None, "the owner makes it"
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


def _salts(events: list[Event]) -> dict[int | None, bytes]:
    """The accounts' salts; an account's first event makes it one, and so does its first after an
    erasure. A payload that was erased since it was read is not to be proven by the new one."""
    salts = chain.salts_of(events)
    unsalted = [event for event in events if event.account_id not in salts]
    if not unsalted:
        return salts
    _read_payloads(unsalted)
    new = {event.account_id for event in unsalted if event.account_id is not None}
    made = [Salt(account_id=account, salt=secrets.token_hex(SALT_BYTES)) for account in new]
    Salt.objects.bulk_create(made)
    return salts | {salt.account_id: bytes.fromhex(salt.salt) for salt in made}


def _read_payloads(events: list[Event]) -> None:
    """Have the payloads that stand there now."""
    stored = Event.objects.filter(pk__in=[event.pk for event in events])
    payloads = dict(stored.values_list("pk", "payload"))
    for event in events:
        event.payload = payloads[event.pk]
