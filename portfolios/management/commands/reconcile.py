"""Prove that the books agree; exit code 1 where they do not."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from portfolios.models import Account
from portfolios.reconcile import Report, reconcile


class Command(BaseCommand):
    help = "Compare cash, positions, lots, holds, orders, fills and events with the ledger."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--account", metavar="NUMBER", help="only this account")

    def handle(self, *args: Any, account: str | None = None, **options: Any) -> None:
        report = reconcile(None if account is None else [self._id(account)])

        self._print(report)
        if not report.agrees:
            raise CommandError("the books do not agree", returncode=1)

    def _id(self, number: str) -> int:
        try:
            return Account.objects.get(number=number).pk
        except Account.DoesNotExist:
            raise CommandError(f"there is no account {number}", returncode=2) from None

    def _print(self, report: Report) -> None:
        width = max((len(invariant) for invariant in report.tallies), default=0)
        for invariant, tally in report.tallies.items():
            verdict = f"{tally.mismatches} MISMATCHES" if tally.mismatches else "agree"
            self.stdout.write(f"{invariant:<{width}}  {tally.rows:>9,} compared, {verdict}")
        for line in report.mismatches:
            self.stdout.write(
                f"MISMATCH {line.subject}: {line.invariant}: "
                f"must be {line.expected!s}, is {line.found!s}"
            )
        self.stdout.write(f"{report.accounts:,} accounts")
