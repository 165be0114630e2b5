"""Open sockets lose their credential as fast as new ones do, whatever the bus loses.

The news of a revoked key or a disabled user closes sockets at once. It can be lost, and it can
come while a socket is on its way in; so the database is asked about all of them every second.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol
from weakref import WeakKeyDictionary

from quotes.streaming.credentials import Authenticator, Credential
from quotes.streaming.off_loop import off_loop

log = logging.getLogger(__name__)

SWEEP_SECONDS = 1.0


class Guest(Protocol):
    """Somebody who was let in."""

    authenticator: Authenticator
    credential: Credential | None

    def revoke(self) -> None:
        """Say that the credential no longer holds, and close."""


class Watch:
    """The guests of one event loop."""

    def __init__(self) -> None:
        self._guests: set[Guest] = set()
        self._sweeping: asyncio.Task[None] | None = None

    def add(self, guest: Guest) -> None:
        """Look after a guest. Whoever is added is discarded."""
        self._guests.add(guest)
        if self._sweeping is None:
            self._sweeping = asyncio.create_task(self._sweep_on())

    def discard(self, guest: Guest) -> None:
        """Look after it no longer. Twice is harmless."""
        self._guests.discard(guest)
        if not self._guests and self._sweeping is not None:
            self._sweeping.cancel()
            self._sweeping = None

    async def _sweep_on(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            try:
                await self.sweep()
            except Exception:
                log.warning("credentials could not be checked", exc_info=True)

    async def sweep(self) -> None:
        """Shut out whose credential no longer holds."""
        asked = {id(each.authenticator): each.authenticator for each in self._guests}
        for authenticator in asked.values():
            guests = [each for each in self._guests if each.authenticator is authenticator]
            held = {each.credential for each in guests if each.credential is not None}
            gone = await off_loop(authenticator.shut_out, held)
            for guest in guests:
                if guest.credential in gone:
                    guest.revoke()


_watches: WeakKeyDictionary[asyncio.AbstractEventLoop, Watch] = WeakKeyDictionary()


def watch() -> Watch:
    """That of the running event loop."""
    loop = asyncio.get_running_loop()
    if loop not in _watches:
        _watches[loop] = Watch()
    return _watches[loop]
