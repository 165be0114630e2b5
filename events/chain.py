"""The hash chain over the event log: what a link covers, and who broke it.

    digest = SHA-256(salt of the account, payload)        so that a payload can be erased
    hash   = SHA-256(hash before, header with the digest)  so that nothing can be altered

The header is every column but the payload and the hash itself, the event's own number included.
Whoever changes, adds or removes an event has to write every later link anew, and cannot do that
with what is signed outside the database (`events.signing`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple

from events.models import ChainHead, Event, Salt

GENESIS = "0" * 64  # the hash before the first event
CHUNK = 1_000
ERASED = "events.payloads.erased"  # of the account, before this event


class Signed(NamedTuple):
    """A link of the chain that somebody outside the database vouches for."""

    sequence: int
    hash: str


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


def verify(signed: Iterable[Signed] = ()) -> Broken | None:
    """Walk the whole chain from its first event; None when every link holds."""
    walk = Walk(signed)
    for _ in walk.steps():
        pass
    return walk.broken


class Walk:
    """One walk along the chain, from its first event to where its head is at the beginning.

    `signed` are links that signatures vouch for, in their order; read them before the walk begins,
    for the chain and its signatures go on. So do erasures: a payload that does not hold is read
    once more before it is called altered.
    """

    def __init__(self, signed: Iterable[Signed] = ()) -> None:
        self.sequence = 0  # up to here it holds
        self.signed = 0  # up to here it is what was signed
        self.erased = 0  # events that hold, and whose payload is erased
        self.broken: Broken | None = None
        self.head = _head()
        self._before = GENESIS
        self._signed = iter(signed)
        self._awaited = next(self._signed, None)
        self._erased_to = _erasures()

    def steps(self) -> Iterator[None]:
        """Walk, with a pause after each `CHUNK` of events; ends at the first that is broken."""
        self.broken = _before_the_first()
        while self.broken is None and self.sequence < self.head:
            events = _chained(self.sequence, self.head)
            salts = salts_of(events)
            for event in events:
                self.broken = self._check(event, salts)
                if self.broken is not None:
                    break
            if not events:
                self.broken = Broken(self.sequence + 1, None, "is missing")
            yield
        if self.broken is None:
            self.broken = self._check_end()

    def _check(self, event: Event, salts: dict[int | None, bytes]) -> Broken | None:
        place = self.sequence + 1
        if event.sequence != place:
            return Broken(place, None, "is missing")
        if not self._has_its_payload(event, salts) and not self._has_it_now(event):
            return Broken(place, event.pk, "has another payload than was chained")
        if event.hash != link(event, self._before):
            return Broken(place, event.pk, "has another header than was chained")
        if self._awaited is not None and self._awaited.sequence == place:
            if self._awaited.hash != event.hash:
                rewritten = (
                    f"is not what was signed: the chain was written anew after {self.signed}"
                )
                return Broken(place, event.pk, rewritten)
            self.signed, self._awaited = place, next(self._signed, None)
        self.sequence, self._before = place, event.hash
        return None

    def _has_its_payload(self, event: Event, salts: dict[int | None, bytes]) -> bool:
        """Whether the payload is the one that was chained, or was erased with a word of it."""
        if event.digest == digest(event, salts.get(event.account_id, b"")):
            return True
        is_erased = self._is_erased(event)
        self.erased += is_erased
        return is_erased

    def _has_it_now(self, event: Event) -> bool:
        """The same of what stands there now. One look is enough for an erasure at any instant:

        the word of it is committed before the first payload goes, and the salt goes with the last.
        """
        salts = salts_of([event])
        event.payload = Event.objects.filter(pk=event.pk).values_list("payload", flat=True).first()
        self._erased_to = _erasures()
        return self._has_its_payload(event, salts)

    def _is_erased(self, event: Event) -> bool:
        """Whether a later event of the account says that its payloads were erased."""
        erased_to = self._erased_to.get(event.account_id, 0)
        return event.payload == {} and (event.account_sequence or 0) < erased_to

    def _check_end(self) -> Broken | None:
        if self._awaited is not None:
            return Broken(
                self.head + 1,
                None,
                f"is missing: the log was signed up to {self._awaited.sequence}",
            )
        last = Event.objects.order_by("-sequence").exclude(sequence=None).first()
        if last is not None and (last.sequence or 0) > _head():
            return Broken(self.head + 1, last.pk, "was put behind the head of the chain")
        return None


def _before_the_first() -> Broken | None:
    """An event that the relay cannot have numbered: it counts from 1."""
    event = Event.objects.filter(sequence__lt=1).order_by("sequence").first()
    if event is None or event.sequence is None:
        return None
    return Broken(event.sequence, event.pk, "was put before the first event")


def _head() -> int:
    head = ChainHead.objects.filter(pk=ChainHead.ONLY).first()
    return 0 if head is None else head.sequence


def lock_head() -> ChainHead | None:
    """The chain's end, locked; None before the first relay. Nothing is chained meanwhile.

    Locked after leases and accounts. Whoever holds it locks neither.
    """
    return ChainHead.objects.select_for_update().filter(pk=ChainHead.ONLY).first()


def _chained(after: int, head: int) -> list[Event]:
    events = Event.objects.filter(sequence__gt=after, sequence__lte=head)
    return list(events.order_by("sequence")[:CHUNK])


def _erasures() -> dict[int | None, int]:
    """For each account whose payloads were erased, the number of the event that says so."""
    rows = Event.objects.filter(kind=ERASED).order_by("id")
    return {event.account_id: event.account_sequence or 0 for event in rows}


def _instant(at: datetime | None) -> str | None:
    return at.astimezone(UTC).isoformat(timespec="microseconds") if at else None


def _canonical(value: Any) -> bytes:
    """One spelling of a value, whichever order a database gives its keys back in."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode()
