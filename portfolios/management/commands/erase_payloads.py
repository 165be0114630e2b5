"""manage.py erase_payloads PA4S4R24D5YV --yes"""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from events.commands import operator
from events.errors import OpenbellError
from portfolios.erasure import erase_payloads
from portfolios.models import Account


class Command(BaseCommand):
    help = (
        "Erases what the event log tells of a closed account: what was asked for, paid and held. "
        "That something happened, and when, stays, with who did it, the ids of account, order or "
        "key, and the X-Request-ID; verify_audit counts it as erased. Copies that were exported "
        "are not reached."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("account", metavar="NUMBER")
        parser.add_argument("--yes", action="store_true", help="it cannot be undone")

    def handle(self, *args: Any, account: str, yes: bool, **options: Any) -> None:
        found = Account.objects.filter(number=account).first()
        if found is None:
            raise CommandError(f"there is no account {account}", returncode=2)
        if not yes:
            raise CommandError("nothing is erased without --yes: it cannot be undone", returncode=2)
        try:
            events = erase_payloads(account_id=found.pk, actor=operator(), progress=self._tell)
        except OpenbellError as error:
            raise CommandError(f"account {account}: {error.message}") from None
        self.stdout.write(f"{events:,} events of account {account} are erased")

    def _tell(self, done: int, total: int) -> None:
        self.stderr.write(f"{done:,} of {total:,} events")
