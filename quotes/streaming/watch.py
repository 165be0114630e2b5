"""Open sockets lose their credential as fast as new ones do, whatever the bus loses.

The news of a revoked key, a disabled user or an account begun anew closes sockets at once. It can
be lost, and it can come while a socket is on its way in. So each socket is asked about in the
database once, after it was let in, and every second the database is asked who was shut out of late:
that costs the same however many sockets there are. Against rows that were changed by hand some more
are asked about every second, all of them in turn.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Iterator, Set
from itertools import islice
from typing import Any, Protocol
from weakref import WeakKeyDictionary

from quotes.streaming.credentials import Authenticator, Credential
from quotes.streaming.off_loop import past_the_queue
from quotes.streaming.standings import chunks
from quotes.streaming.sweep import Sweep

log = logging.getLogger(__name__)

SWEEP_SECONDS = 1.0
ASKED_AT_ONCE = 500  # new guests in a question: each is short, for others ask in between
TURN_USERS = 200  # of whom there is nothing new, in a sweep: two queries; 10,000 take 50 s


class Guest(Protocol):
    """Somebody who was let in; the credential stays the same."""

    authenticator: Authenticator
    credential: Credential | None

    def revoke(self) -> None:
        """Say that the credential no longer holds, and close."""


class Watch:
    """The guests of one event loop."""

    def __init__(self) -> None:
        self._lists: dict[int, GuestList] = {}  # one for each authenticator, by its id
        self._sweep = Sweep()

    def add(self, guest: Guest) -> None:
        """Look after a guest. Whoever is added is discarded."""
        authenticator = guest.authenticator
        self._lists.setdefault(id(authenticator), GuestList(authenticator)).add(guest)
        self._sweep.start(self.sweep, SWEEP_SECONDS, _say_it_failed)

    def discard(self, guest: Guest) -> None:
        """Look after it no longer. Twice is harmless."""
        guests = self._lists.get(id(guest.authenticator))
        if guests is None:
            return
        guests.discard(guest)
        if not guests.of_user:
            del self._lists[id(guest.authenticator)]
        if not self._lists:
            self._sweep.end()

    async def sweep(self) -> None:
        """Shut out whose credential no longer holds."""
        for guests in list(self._lists.values()):
            await guests.sweep()


def _say_it_failed() -> None:
    log.warning("credentials could not be checked", exc_info=True)


class GuestList:
    """Whom one authenticator has let in."""

    def __init__(self, authenticator: Authenticator) -> None:
        self.of_user: dict[int, set[Guest]] = {}
        self._authenticator = authenticator
        self._new: set[Guest] = set()  # they were not asked about since they were let in
        self._turn: Iterator[int] = iter(())  # users whose turn is still to come
        self._mark: Any = None

    def add(self, guest: Guest) -> None:
        assert guest.credential is not None
        self.of_user.setdefault(guest.credential.user_id, set()).add(guest)
        self._new.add(guest)

    def discard(self, guest: Guest) -> None:
        self._new.discard(guest)
        if guest.credential is None:
            return
        guests = self.of_user.get(guest.credential.user_id, set())
        guests.discard(guest)
        if not guests:
            self.of_user.pop(guest.credential.user_id, None)

    async def sweep(self) -> None:
        """Ask who was shut out of late, and then about the new ones: in between, nobody is missed.

        Whatever fails is asked again.
        """
        lately = await past_the_queue(self._authenticator.shut_out_since, self._mark)
        self._mark = lately.mark
        for user_id in lately.users:
            self._revoke(user_id)
        for key_id, user_id in lately.keys.items():
            self._revoke(user_id, key_id)
        for moved in chunks(self._held_for(lately.accounts), ASKED_AT_ONCE):
            await self._ask_about(moved)
        for some in chunks(tuple(self._new), ASKED_AT_ONCE):
            await self._ask_about(each.credential for each in some if each.credential is not None)
            self._new.difference_update(some)
        await self._ask_about(self._next_in_turn())

    async def _ask_about(self, credentials: Iterable[Credential]) -> None:
        asked = set(credentials)
        gone = await past_the_queue(self._authenticator.shut_out, asked) if asked else ()
        for credential in gone:
            for guest in list(self.of_user.get(credential.user_id, ())):
                if guest.credential == credential:
                    guest.revoke()

    def _held_for(self, accounts: Set[int]) -> list[Credential]:
        """The credentials that were let in for one of the accounts."""
        if not accounts:
            return []
        held = (each.credential for guests in self.of_user.values() for each in guests)
        return [each for each in held if each is not None and each.account_id in accounts]

    def _next_in_turn(self) -> set[Credential]:
        """The credentials of the next users."""
        users = list(islice(self._turn, TURN_USERS))
        if not users:
            self._turn = iter(list(self.of_user))
        held = (each.credential for user_id in users for each in self.of_user.get(user_id, ()))
        return {each for each in held if each is not None}

    def _revoke(self, user_id: int, key_id: str | None = None) -> None:
        """Close what the user has open, or what was opened with this key."""
        for guest in list(self.of_user.get(user_id, ())):
            credential = guest.credential
            if key_id is None or (credential is not None and credential.key_id == key_id):
                guest.revoke()


_watches: WeakKeyDictionary[asyncio.AbstractEventLoop, Watch] = WeakKeyDictionary()


def watch() -> Watch:
    """That of the running event loop."""
    loop = asyncio.get_running_loop()
    if loop not in _watches:
        _watches[loop] = Watch()
    return _watches[loop]
