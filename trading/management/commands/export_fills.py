"""Print every fill as CSV, sorted, without ids or wall times: equal runs print equal bytes."""

from __future__ import annotations

import csv
from typing import Any

from django.core.management.base import BaseCommand

from quotes.amounts import plain
from trading.models import Fill
from trading.wire import instant

COLUMNS = (
    "client_order_id",
    "fill_number",
    "side",
    "quantity",
    "price",
    "market_time",
    "quote_sequence",
)
CHUNK = 2_000


class Command(BaseCommand):
    help = "Print every fill as CSV: sorted, without ids or wall times."

    def handle(self, *args: Any, **options: Any) -> None:
        rows = csv.writer(self.stdout, lineterminator="\n")
        rows.writerow(COLUMNS)
        fills = Fill.objects.select_related("order").order_by(
            "at", "order__client_order_id", "number", "quote_sequence", "pk"
        )
        for fill in fills.iterator(chunk_size=CHUNK):
            rows.writerow(
                [
                    fill.order.client_order_id,
                    fill.number,
                    fill.side,
                    plain(fill.quantity),
                    plain(fill.price),
                    instant(fill.at),
                    fill.quote_sequence,
                ]
            )
