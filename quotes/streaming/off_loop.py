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

# Each keeps a database connection. Logins of a reconnecting fleet queue here, one per socket.
THREADS = 4
_THREADS = ThreadPoolExecutor(max_workers=THREADS, thread_name_prefix="stream")
TIMEOUT_SECONDS = 5.0


async def off_loop(function: Callable[..., Result], *arguments: Any) -> Result:
    """What `function` returns, from a thread with a usable connection; TimeoutError after 5 s."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(TIMEOUT_SECONDS):
        return await loop.run_in_executor(_THREADS, _connected, function, arguments)


def _connected(function: Callable[..., Result], arguments: tuple[Any, ...]) -> Result:
    close_old_connections()
    try:
        return function(*arguments)
    finally:
        close_old_connections()
