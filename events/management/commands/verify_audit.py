"""Prove that the event log is as it was written; exit code 1 and the first bad event if not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from events.chain import Walk
from events.queries import count_unchained
from events.signing import BadKey, BadSignature, read_signatures

BROKEN, UNPROVEN = 1, 2  # exit codes


class Command(BaseCommand):
    help = (
        "Follow the event log's hash chain and its signatures, and name the first bad event. "
        "Exit code 1: it was tampered with. 2: nothing is signed, so its end may be missing."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--signatures",
            metavar="FOLDER",
            type=Path,
            default=settings.AUDIT_HOME,
            help=f"the signatures and public keys to trust (default: {settings.AUDIT_HOME})",
        )

    def handle(self, *args: Any, signatures: Path, **options: Any) -> None:
        try:
            walk = Walk(read_signatures(signatures))
            for _ in walk.steps():
                self.stderr.write(f"{walk.sequence:,} of {walk.head:,} events")
        except (BadKey, BadSignature) as error:
            raise CommandError(f"SIGNATURES DO NOT HOLD: {error}", returncode=BROKEN) from error
        self._tell(walk)
        if walk.head and not walk.signed:
            raise CommandError(f"no signature is in {signatures}", returncode=UNPROVEN)

    def _tell(self, walk: Walk) -> None:
        if walk.broken is not None:
            sequence, event_id, problem = walk.broken
            row = "" if event_id is None else f" (row {event_id})"
            raise CommandError(
                f"BROKEN: event {sequence}{row} {problem}; the {walk.sequence:,} before it hold",
                returncode=BROKEN,
            )
        erased = f", {walk.erased:,} of them erased" if walk.erased else ""
        self.stdout.write(f"{walk.sequence:,} events are as they were chained{erased}")
        self.stdout.write(f"{walk.signed:,} of them are signed for")
        self.stdout.write(f"{count_unchained():,} events are not chained yet")
