"""Who may open a socket, as far as streams need to know. `access` implements it."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any, Protocol

# What a handshake carries when it says who it is; without any of them there is nothing to check.
KEY_HEADERS = frozenset({b"apca-api-key-id", b"apca-api-secret-key", b"authorization"})
COOKIE_HEADER = b"cookie"


class Credential(Protocol):
    """Somebody who was let in."""

    @property
    def user_id(self) -> int: ...

    @property
    def account_id(self) -> int | None: ...

    @property
    def key_id(self) -> str | None: ...


class Lately(Protocol):
    """Who was shut out since a mark, and still is."""

    @property
    def keys(self) -> Mapping[str, int]:
        """Key → its user."""

    @property
    def users(self) -> Set[int]: ...

    @property
    def accounts(self) -> Set[int]:
        """Accounts whose keys are another account's now."""

    @property
    def mark(self) -> Any:
        """What to ask with next."""


class Authenticator(Protocol):
    """Its methods may block or query: they are called on a thread. None means: not let in."""

    def by_key(self, key_id: object, secret: object) -> Credential | None:
        """Whose key this is. Any type may come from the wire."""

    def by_scope(self, scope: dict[str, Any]) -> Credential | None:
        """Whom the handshake names: a key in its headers, or a session of our own pages."""

    def shut_out(self, credentials: Set[Any]) -> Set[Any]:
        """Those of the credentials whose key was revoked or is for another account now, or whose
        user was disabled."""

    def shut_out_since(self, mark: Any) -> Lately:
        """Whose key was revoked or moved and who was disabled since the mark; None begins of late.

        It may name them again for some time, and costs nothing for the credentials there are.
        """
