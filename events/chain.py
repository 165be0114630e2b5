"""The hash chain over the event log: what a link covers, and who broke it.

    digest = SHA-256(salt of the account, payload)        so that a payload can be erased
    hash   = SHA-256(hash before, header with the digest)  so that nothing can be altered

The header is every column but the payload and the hash itself, the event's own number included.
Whoever changes, adds or removes an event has to write every later link anew.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, NamedTuple

from events.models import ChainHead, Event, Salt

GENESIS = "0" * 64  # the hash before the first event
CHUNK = 1_000


class Broken(NamedTuple):
    """The first event that is not as it was chained."""

    sequence: int
    event_id: int | None  # None: it is not there
    problem: str


def seal(event: Event, *, sequence: int, before: str, salt: bytes) -> str:
    """Give an event its place in the chain; returns its hash, the next one's `before`."""
    event.sequence = sequence
    event.digest = digest(event, salt)
    event.hash = link(event, before)
    return event.hash


def digest(event: Event, salt: bytes) -> str:
    return hashlib.sha256(salt + _canonical(event.payload)).hexdigest()


def link(event: Event, before: str) -> str:
    header = {
        "id": event.pk,
        "kind": event.kind,
        "subject": event.subject,
        "actor": event.actor,
        "account_id": event.account_id,
        "account_sequence": event.account_sequence,
        "request_id": event.request_id,
        "at": _instant(event.at),
        "recorded_at": _instant(event.recorded_at),
        "sequence": event.sequence,
        "digest": event.digest,
    }
    return hashlib.sha256(before.encode() + _canonical(header)).hexdigest()


def salts_of(events: Iterable[Event]) -> dict[int | None, bytes]:
    """The salt of every account that these events are of; those of no account have none."""
    accounts = {event.account_id for event in events if event.account_id is not None}
    stored = Salt.objects.filter(account_id__in=accounts).values_list("account_id", "salt")
    return {None: b"", **{account_id: bytes.fromhex(salt) for account_id, salt in stored}}


def verify() -> Broken | None:
    """Walk the whole chain from its first event; None when every link holds."""
    before, sequence = GENESIS, 0
    while events := _chained_after(sequence):
        salts = salts_of(events)
        for event in events:
            sequence += 1
            problem = _problem(event, sequence, before, salts)
            if problem is not None:
                return problem
            before = event.hash or ""
    head = ChainHead.objects.filter(pk=ChainHead.ONLY).first()
    if head is not None and head.sequence > sequence:
        return Broken(sequence + 1, None, "is missing")
    return None


def _chained_after(sequence: int) -> list[Event]:
    return list(Event.objects.filter(sequence__gt=sequence).order_by("sequence")[:CHUNK])


def _problem(
    event: Event, sequence: int, before: str, salts: dict[int | None, bytes]
) -> Broken | None:
    if event.sequence != sequence:
        return Broken(sequence, None, "is missing")
    if event.digest != digest(event, salts.get(event.account_id, b"")):
        return Broken(sequence, event.pk, "has another payload than was chained")
    if event.hash != link(event, before):
        return Broken(sequence, event.pk, "has another header than was chained")
    return None


def _instant(at: datetime | None) -> str | None:
    return at.astimezone(UTC).isoformat(timespec="microseconds") if at else None


def _canonical(value: Any) -> bytes:
    """One spelling of a value, whichever order a database gives its keys back in."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode()
