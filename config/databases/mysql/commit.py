"""What became of a transaction whose connection was lost during COMMIT.

It may be stored or not, and to try it again could do it twice. So a new connection waits until the
server has done with the old one, and looks for an event that the transaction wrote: `events.log`
leaves one as proof among the hooks that run after the commit. Where it is stored everything goes on
as if the answer had come; else the loss is an error like any other. Where nobody can say, because
the server is away or the transaction wrote no event, that is what is raised: CommitLost.
"""

from __future__ import annotations

import contextlib
import time
from typing import Any

from django.db import DatabaseError, OperationalError

from events.transactions import CommitLost

END_SECONDS_MAX = 2.0  # for the server to have done with the old connection
LOOK_SECONDS = 0.01

OURS = (
    "SELECT 1 FROM information_schema.processlist"
    " WHERE id = %s AND user = SUBSTRING_INDEX(CURRENT_USER(), '@', 1)"
)


def find_out(wrapper: Any, loss: OperationalError) -> None:
    """Return, with a new connection, where the transaction is stored; raise where it is not.

    `wrapper` is Django's connection in the middle of its commit. Raises `loss` where nothing was
    stored, CommitLost where that is not known.
    """
    hooks = wrapper.run_on_commit
    former = wrapper.connection.thread_id()
    with contextlib.suppress(DatabaseError):
        wrapper._close()
    wrapper.connection = None
    try:
        wrapper.ensure_connection()
        _wait_for_the_end(wrapper, former)
        is_stored = _is_stored(hooks)
    except DatabaseError:
        is_stored = None
    if is_stored is None:
        wrapper.close()
        wrapper.closed_in_transaction = True  # or Django would connect again to tidy up
        raise CommitLost(*loss.args) from loss
    if not is_stored:
        raise loss
    wrapper.run_on_commit = hooks


def _wait_for_the_end(wrapper: Any, former: int) -> None:
    """Have the server end the former connection, if it still has it. Then nothing can follow."""
    if wrapper.connection.thread_id() <= former:
        return  # the numbers begin anew with the server: it has restarted and recovered
    deadline = time.monotonic() + END_SECONDS_MAX
    with wrapper.cursor() as cursor:
        while cursor.execute(OURS, [former]):
            with contextlib.suppress(DatabaseError):  # it went in the meantime
                cursor.execute(f"KILL CONNECTION {int(former)}")
            if time.monotonic() > deadline:
                raise DatabaseError("the server does not end the former connection")
            time.sleep(LOOK_SECONDS)


def _is_stored(hooks: list[Any]) -> bool | None:
    """What the proofs among the hooks say; None where there is none."""
    for _, hook, *_ in hooks:
        if hasattr(hook, "is_stored") and (is_stored := hook.is_stored()) is not None:
            return bool(is_stored)
    return None
