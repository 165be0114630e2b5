"""What an account's transactions of some days did to its cash and shares, minute by minute.

Adding up the postings of a busy day takes the database a third of a second for a hundred thousand
fills. But a posting never changes and a transaction's number is never given again, so what a full
block of transactions did is kept for whoever asks later (`NAME` in the table of cache policies):
each is added up once, and what is not in a full block yet each time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from typing import Any, NamedTuple

from django.core.cache import caches
from django.db import connections, router

from events.errors import Unavailable
from portfolios.errors import HistoryInvalid
from portfolios.models import Account, AccountDay, Posting

NAME = "moves"
BLOCK = 2_048  # transactions; those of block n are numbered from n × BLOCK on
BLOCKS_PER_STATEMENT = 48  # 0.3 s: one of seconds would be taken for a server that is lost
# That one question may add up: of a million, where none of it is kept, MariaDB takes 3 to 8 s.
TRANSACTIONS_MAX = 1_200_000
MINUTE = 60

Span = tuple[int, int]  # numbers of transactions, from the first up to before the second
Told = tuple[int | None, int, int]  # instrument, or None for cash; minute; amount


class Moved(NamedTuple):
    """What the postings of a stretch did to cash (instrument None) or to shares, all together."""

    start: int  # epoch seconds, a multiple of the stretch
    instrument_id: int | None
    amount: int


class _Sum(NamedTuple):
    """What one block's postings of one minute did."""

    block: int
    instrument_id: int | None
    minute: int  # since the epoch
    amount: int
    last: int  # transaction among them


def moves(account: Account, first: date, last: date, step: int) -> list[Moved]:
    """What the postings of these trade dates did, in stretches of `step` seconds, whole minutes.

    Ascending by time. Raises HistoryInvalid where that is too much to add up.
    """
    days = AccountDay.objects.filter(account_id=account.pk).order_by("on")
    begin = days.filter(on__gte=first).values_list("first_transaction", flat=True).first()
    beyond = days.filter(on__gt=last).values_list("first_transaction", flat=True).first()
    if begin is None:
        return []
    end = beyond or account.transaction_sequence + 1
    if end - begin > TRANSACTIONS_MAX:
        raise HistoryInvalid(
            "too much was traded on these days: ask for fewer, or for timeframe 1D",
            maximum=TRANSACTIONS_MAX,
        )
    blocks = range(-(-begin // BLOCK), end // BLOCK)
    if blocks:
        edges = [(begin, blocks.start * BLOCK), (blocks.stop * BLOCK, end)]
    else:
        edges = [(begin, end)]
    sums: defaultdict[tuple[int, int | None], int] = defaultdict(int)
    for instrument_id, minute, amount in [*_kept(account, blocks), *_unkept(account, edges)]:
        start = minute * MINUTE
        sums[start - start % step, instrument_id] += amount
    moved = [Moved(start, pk, amount) for (start, pk), amount in sums.items() if amount]
    return sorted(moved, key=lambda move: move.start)


def _kept(account: Account, blocks: Sequence[int]) -> Iterator[Told]:
    """What full blocks did, from the cache as far as it has them.

    Some at a time: what has been added up is kept, whatever becomes of the rest.
    """

    def load(keys: list[str]) -> dict[str, list[Told]]:
        told = _add_up_blocks(account, [named[key] for key in keys])
        return {key: told[named[key]] for key in keys}

    cache: Any = caches["quotes"]
    for at in range(0, len(blocks), BLOCKS_PER_STATEMENT):
        # By the account's public id: another database gives the same number to another account.
        some = blocks[at : at + BLOCKS_PER_STATEMENT]
        named = {f"{account.public_id}:{block}": block for block in some}
        for told in cache.get_or_load_many(NAME, named, load).values():
            yield from told


def _unkept(account: Account, edges: Iterable[Span]) -> list[Told]:
    spans = [span for span in edges if span[0] < span[1]]
    found = _add_up(account, spans) if spans else []
    return [(one.instrument_id, one.minute, one.amount) for one in found]


def _add_up_blocks(account: Account, blocks: Sequence[int]) -> dict[int, list[Told]]:
    """Raises Unavailable where the database that was asked does not have all of them yet."""
    told: dict[int, list[Told]] = {block: [] for block in blocks}
    last = dict.fromkeys(blocks, 0)
    for one in _add_up(account, _joined(sorted(blocks))):
        told[one.block].append((one.instrument_id, one.minute, one.amount))
        last[one.block] = max(last[one.block], one.last)
    if any(number != (block + 1) * BLOCK - 1 for block, number in last.items()):
        raise Unavailable("the newest trades are not in the books that were asked, ask again")
    return told


def _joined(blocks: Iterable[int]) -> list[Span]:
    """The spans of these blocks, which ascend; neighbours make one."""
    spans: list[Span] = []
    for block in blocks:
        begin, end = block * BLOCK, (block + 1) * BLOCK
        if spans and spans[-1][1] == begin:
            begin = spans.pop()[0]
        spans.append((begin, end))
    return spans


def _add_up(account: Account, spans: Sequence[Span]) -> list[_Sum]:
    connection = connections[router.db_for_read(Posting)]
    statement, values = sums_statement(connection.vendor, account.pk, spans)
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        rows = cursor.fetchall()
    return [
        _Sum(int(block), pk, int(minute), int(amount), int(last))
        for block, pk, minute, amount, last in rows
    ]


def sums_statement(
    vendor: str, account_id: int, spans: Sequence[Span]
) -> tuple[str, list[int | str]]:
    """The query of the sums of these spans: a walk along the key of the postings."""
    is_mysql = vendor == "mysql"
    minute = (
        "TIMESTAMPDIFF(MINUTE, '1970-01-01', p.at)"
        if is_mysql
        else f"CAST(strftime('%%s', p.at) AS INTEGER) / {MINUTE}"
    )
    number = "p.`transaction`" if is_mysql else 'p."transaction"'  # a word of SQL, too
    block = f"{number} {'DIV' if is_mysql else '/'} {BLOCK}"
    own = "('cash', 'shares')"
    wanted = " OR ".join([f"{number} >= %s AND {number} < %s"] * len(spans))
    return (
        f"SELECT {block} AS block, p.instrument_id, {minute} AS minute,"
        f" SUM(CASE WHEN p.target IN {own} THEN p.amount WHEN p.source IN {own} THEN -p.amount"
        f" ELSE 0 END), MAX({number}) FROM {Posting._meta.db_table} p"
        f" WHERE p.account_id = %s AND ({wanted})"
        f" GROUP BY block, p.instrument_id, minute",
        [account_id, *(bound for span in spans for bound in span)],
    )
