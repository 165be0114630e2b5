"""manage.py announce_action AAPL --dividend 0.25 --ex 2024-05-10 --pay 2024-05-16

or, for four shares in place of one: manage.py announce_action AAPL --split 4:1 --ex 2020-08-31.
"""

from __future__ import annotations

import argparse
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from events.commands import operator
from events.errors import OpenbellError
from quotes.corporate_actions import announce_dividend, announce_split
from quotes.models import CorporateAction


def amount(text: str) -> Decimal:
    """A plain number."""
    try:
        return Decimal(text)
    except InvalidOperation:
        raise argparse.ArgumentTypeError(f"“{text}” is no number. Example: 0.25") from None


def ratio(text: str) -> tuple[int, int]:
    """New and old shares, as NEW:OLD."""
    new, colon, old = text.partition(":")
    if not (colon and new.isdecimal() and old.isdecimal()):
        raise argparse.ArgumentTypeError(f"“{text}” is no ratio. Example: 4:1")
    return int(new), int(old)


def day(text: str) -> date:
    """A date as YYYY-MM-DD."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"“{text}” is no date. Example: 2024-05-10") from None


class Command(BaseCommand):
    help = (
        "Announces a cash dividend or a split of an instrument. The execution carries it out when "
        "market time reaches its day."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("symbol")
        terms = parser.add_mutually_exclusive_group(required=True)
        terms.add_argument("--dividend", type=amount, metavar="USD", help="per share")
        terms.add_argument("--split", type=ratio, metavar="NEW:OLD")
        parser.add_argument("--ex", type=day, required=True, help="the ex-date")
        parser.add_argument("--pay", type=day, help="of a dividend; the ex-date if left out")

    def handle(self, **options: Any) -> None:
        try:
            action = self._announce(**options)
        except OpenbellError as error:
            raise CommandError(error.message) from error
        self.stdout.write(f"announced: {action}, carried out at {action.due_at:%Y-%m-%d %H:%M} UTC")

    def _announce(self, **options: Any) -> CorporateAction:
        common: dict[str, Any] = {
            "symbol": options["symbol"],
            "ex_on": options["ex"],
            "actor": operator(),
        }
        if options["split"]:
            new, old = options["split"]
            return announce_split(new_shares=new, old_shares=old, **common)
        return announce_dividend(
            per_share=options["dividend"], payable_on=options["pay"] or options["ex"], **common
        )
