"""Calls that may touch the database, made off the event loop.

Threads of their own: the loop's default executor and Django's one thread for sync code are shared
with whoever blocks them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from django.db import close_old_connections

Result = TypeVar("Result")

# Each keeps a database connection. Logins of a reconnecting fleet queue for the first four, one per
# socket; the last is for what must not wait behind them.
THREADS = 4 + 1
_THREADS = ThreadPoolExecutor(max_workers=THREADS - 1, thread_name_prefix="stream")
_SWEEPER = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sweep")
TIMEOUT_SECONDS = 5.0


async def off_loop(function: Callable[..., Result], *arguments: Any) -> Result:
    """What `function` returns, from a thread with a usable connection; TimeoutError after 5 s."""
    return await _run(_THREADS, function, arguments)


async def past_the_queue(function: Callable[..., Result], *arguments: Any) -> Result:
    """As `off_loop`, without waiting behind logins. For sweeps: one short query at a time."""
    return await _run(_SWEEPER, function, arguments)


async def _run(
    threads: ThreadPoolExecutor, function: Callable[..., Result], arguments: tuple[Any, ...]
) -> Result:
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(TIMEOUT_SECONDS):
        return await loop.run_in_executor(threads, _connected, function, arguments)


def _connected(function: Callable[..., Result], arguments: tuple[Any, ...]) -> Result:
    close_old_connections()
    try:
        return function(*arguments)
    finally:
        close_old_connections()
