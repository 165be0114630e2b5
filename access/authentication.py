"""Who is asking: an API key or a login session, over HTTP or a socket.

All of it ends in a `Credential`. REST views find it as `request.auth`; sockets ask `sockets`.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from collections.abc import Set
from dataclasses import dataclass
from importlib import import_module
from typing import Any
from urllib.parse import parse_qs, urlsplit

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.http import parse_cookie
from django.http.request import split_domain_port, validate_host
from django.utils.http import is_same_domain
from rest_framework import authentication, exceptions, permissions
from rest_framework.request import Request

from access import lookups, shut_out
from access.errors import AnotherAccount
from access.shut_out import Lately, Mark
from events import acting
from events.errors import Forbidden

# Anything else is not ours, and not worth a query.
KEY_ID = re.compile(r"[A-Z0-9]{1,32}")
SECRET_LENGTH_MAX = 128
# How a page names the account that it shows, by its id; sockets have no headers, but a query.
SHOWN_HEADER, SHOWN_QUERY = "Openbell-Account", "account"


@dataclass(frozen=True, slots=True)
class Credential:
    """Whom we let in, and for which account. `account_id` is None for a user without accounts."""

    user_id: int
    account_id: int | None
    key_id: str | None
    actor: str  # how the event log names them: "key:<id>" or "user:<id>"


def authenticate_key(key_id: object, secret: object) -> Credential | None:
    """The credential of a working key and its secret; None for anything else, of any type."""
    known = _known_key(key_id, secret)
    return None if known is None else _key_credential(known)


def authenticate_session(
    session: Any, *, shown: str | None = None
) -> tuple[Any, Credential] | None:
    """The user and the credential of a login session; None when it is over or the user disabled.

    The account is the one the session has chosen, if it is the user's own, else their first. A page
    that was opened before it chose another one still shows the former: the page says which
    (`shown`), for what a person sees is what they mean to trade. Raises AnotherAccount.
    """
    try:
        user_id = int(session.get(SESSION_KEY, ""))
    except ValueError:
        return None
    chosen = session.get("account_id")
    known = lookups.find_user(user_id, chosen=chosen)
    if known is not None and not _agree(session, known, shown):
        known = lookups.find_user_anew(user_id, chosen=chosen)
    if known is None or not _is_current(session, known):
        return None
    account_id = _acts_for(session, known)
    if not _is_shown(account_id, known, shown):
        raise AnotherAccount
    return known.user, Credential(user_id, account_id, None, f"user:{user_id}")


class KeyAuthentication(authentication.BaseAuthentication):
    """`APCA-API-KEY-ID` and `APCA-API-SECRET-KEY`, or the same two as HTTP Basic."""

    def authenticate(self, request: Request) -> tuple[Any, Credential] | None:
        presented = presented_key(
            request.headers.get("APCA-API-KEY-ID"),
            request.headers.get("APCA-API-SECRET-KEY"),
            request.headers.get("Authorization"),
        )
        if presented is None:
            return None
        known = _known_key(*presented)
        if known is None:
            raise exceptions.AuthenticationFailed
        acting.account_id.set(known.account_id)
        return known.user, _key_credential(known)

    def authenticate_header(self, request: Request) -> str:
        # Not "Basic": a browser would ask its user for a password.
        return 'APCA realm="api"'


class SessionAuthentication(authentication.SessionAuthentication):
    """The browser's login session; whatever changes something needs the CSRF token."""

    def authenticate(self, request: Request) -> tuple[Any, Credential] | None:
        shown = request.headers.get(SHOWN_HEADER)
        found = authenticate_session(request._request.session, shown=shown)
        if found is None:
            return None
        self.enforce_csrf(request)
        acting.account_id.set(found[1].account_id)
        return found


class HasAccount(permissions.IsAuthenticated):
    """Let in who has an account to act for."""

    def has_permission(self, request: Request, view: Any) -> bool:
        if not super().has_permission(request, view):
            return False
        credential: Any = request.auth
        if credential.account_id is None:
            raise Forbidden("this user has no account")
        return True


class SocketAuthentication:
    """What the consumers ask. Synchronous, because it may query: call it on a thread."""

    def by_key(self, key_id: object, secret: object) -> Credential | None:
        """The credential of a key sent in a message."""
        return authenticate_key(key_id, secret)

    def by_scope(self, scope: dict[str, Any]) -> Credential | None:
        """The credential in the handshake: a key in its headers, or a session of our own pages.

        None, too, for a page that shows another account than its session acts for.
        """
        headers = {
            name.decode("latin1").lower(): value.decode("latin1")
            for name, value in scope["headers"]
        }
        presented = presented_key(
            headers.get("apca-api-key-id"),
            headers.get("apca-api-secret-key"),
            headers.get("authorization"),
        )
        if presented is not None:
            return authenticate_key(*presented)
        session_key = parse_cookie(headers.get("cookie", "")).get(settings.SESSION_COOKIE_NAME)
        if not session_key or not is_own_origin(headers.get("origin", ""), headers.get("host", "")):
            return None
        store = import_module(settings.SESSION_ENGINE).SessionStore(session_key)
        query = parse_qs(scope.get("query_string", b"").decode("latin1"))
        try:
            found = authenticate_session(store, shown=query.get(SHOWN_QUERY, [None])[0])
        except AnotherAccount:
            return None
        return None if found is None else found[1]

    def shut_out(self, credentials: Set[Credential]) -> Set[Credential]:
        """Those whose key was revoked or is another account's, or whose user was disabled, by the
        database as it is now."""
        key_ids = sorted({each.key_id for each in credentials if each.key_id is not None})
        account_of = shut_out.accounts_of(key_ids)
        disabled = shut_out.disabled_users(sorted({each.user_id for each in credentials}))
        return {
            each
            for each in credentials
            if each.user_id in disabled
            or (each.key_id is not None and account_of.get(each.key_id) != each.account_id)
        }

    def shut_out_since(self, mark: Mark | None) -> Lately:
        """The keys that were revoked, the users who were disabled and the accounts that were begun
        anew since then."""
        return shut_out.shut_out_since(mark)


sockets = SocketAuthentication()


def presented_key(
    key_id: str | None, secret: str | None, authorization: str | None
) -> tuple[str, str] | None:
    """The key id and secret that a request shows, however it shows them; None when it shows none.

    Half a key, or an authorization we cannot read, is a wrong key rather than none, so that it is
    refused and does not fall through to a session.
    """
    if key_id is not None or secret is not None:
        return key_id or "", secret or ""
    if authorization is None:
        return None
    scheme, _, value = authorization.partition(" ")
    if scheme.lower() != "basic":
        return "", ""
    try:
        decoded = base64.b64decode(value.strip(), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    basic_id, _, basic_secret = decoded.partition(":")
    return basic_id, basic_secret


def is_own_origin(origin: str, host: str) -> bool:
    """Whether a page of ours opened the socket: cookies ride along from every other page, too.

    The origin must name the host the socket was opened on, or be trusted by the settings. The
    scheme is not compared, because behind a proxy a socket does not know its own.
    """
    try:
        asked = urlsplit(origin)
    except ValueError:
        return False
    domain, _ = split_domain_port(host)
    if not asked.netloc or not validate_host(domain, settings.ALLOWED_HOSTS):
        return False
    return asked.netloc.lower() == host.lower() or any(
        _matches(asked, urlsplit(trusted)) for trusted in settings.CSRF_TRUSTED_ORIGINS
    )


def _matches(asked: Any, trusted: Any) -> bool:
    pattern = trusted.netloc.removeprefix("*")
    return asked.scheme == trusted.scheme and is_same_domain(asked.netloc, pattern)


def _known_key(key_id: object, secret: object) -> lookups.KnownKey | None:
    if not isinstance(key_id, str) or not isinstance(secret, str):
        return None
    if not KEY_ID.fullmatch(key_id) or len(secret) > SECRET_LENGTH_MAX:
        return None
    known = lookups.find_key(key_id)
    if known is None or not known.opens_with(secret):
        return None
    lookups.note_use(known)
    return known


def _key_credential(known: lookups.KnownKey) -> Credential:
    return Credential(known.user.pk, known.account_id, known.key_id, f"key:{known.key_id}")


def _acts_for(session: Any, known: lookups.KnownUser) -> int | None:
    """The account that the session has chosen, if it is the user's own, else their first."""
    chosen = session.get("account_id")
    first = known.account_ids[0] if known.account_ids else None
    return chosen if chosen in known.account_ids else first


def _is_shown(account_id: int | None, known: lookups.KnownUser, shown: str | None) -> bool:
    """Whether a page shows this account; one that says nothing may show any."""
    return shown is None or (account_id is not None and shown == known.public_ids[account_id])


def _agree(session: Any, known: lookups.KnownUser, shown: str | None) -> bool:
    """Whether the session's choice and the page's account are those that we know of."""
    account_id = _acts_for(session, known)
    has_its_choice = session.get("account_id") in (None, account_id)
    return has_its_choice and _is_shown(account_id, known, shown)


def _is_current(session: Any, known: lookups.KnownUser) -> bool:
    """Logged in through a backend we still have, and before any change of the password since."""
    if session.get(BACKEND_SESSION_KEY) not in settings.AUTHENTICATION_BACKENDS:
        return False
    presented = session.get(HASH_SESSION_KEY, "")
    return any(hmac.compare_digest(presented, each) for each in known.session_hashes)
