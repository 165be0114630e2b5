"""How many wrong passwords are heard before somebody has to wait, over all processes together.

Failures are counted in windows of LOGIN_WINDOW_SECONDS, by the source that request limits have:

  - of one name from one address, LOGIN_FAILURES_MAX;
  - from one address with whatever names, LOGIN_FAILURES_PER_ADDRESS_MAX;
  - of one name from everywhere, ten times LOGIN_FAILURES_MAX: after that each address has one.

So whoever has a right password and has not failed at their own address is let in, whatever others
guess elsewhere. Beyond a limit no password is looked at until the window ends. Attempts that are
checked at the same moment are not counted yet: each thread may hear one more.

It is asked before `ModelBackend`, and so at every page on which somebody logs in.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from math import ceil
from typing import Any, NamedTuple

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from prometheus_client import Counter

from access.limits import shared_source

EVERYWHERE = 10  # times as many failures of one name from all addresses as from one
NETWORK_BITS = 64  # of IPv6: whoever has an address has all of its network's

FAILURES = Counter("openbell_login_failures_total", "Wrong passwords that were heard.")
REFUSALS = Counter(
    "openbell_login_refusals_total", "Attempts to log in that were not heard after too many."
)
log = logging.getLogger(__name__)


class Failures(NamedTuple):
    """What was counted in this window."""

    here: int  # of this name from this address
    address: int
    name: int

    @property
    def are_too_many(self) -> bool:
        one_each = self.name >= settings.LOGIN_FAILURES_MAX * EVERYWHERE
        here_max = 1 if one_each else settings.LOGIN_FAILURES_MAX
        return self.here >= here_max or self.address >= settings.LOGIN_FAILURES_PER_ADDRESS_MAX


class GuessLimit:
    """An authentication backend that knows nobody, and lets the next one be asked or does not."""

    def authenticate(
        self, request: HttpRequest | None, username: str = "", password: str = ""
    ) -> None:
        """Raises ValidationError, with the sentence to show, for who has to wait."""
        if request is None:  # no page: a test or a shell
            return
        now = time.time()
        if not _count(request, username, now, more=0).are_too_many:
            return
        REFUSALS.inc()
        wait_seconds = max(1, ceil(_window_end(now) - now))
        request.login_wait_seconds = wait_seconds  # type: ignore[attr-defined]
        raise ValidationError(
            f"Too many wrong passwords. Try again in {_in_words(wait_seconds)}.",
            code="too_many_wrong_passwords",
        )


class AskToWait:
    """Middleware: the page that says so has the status for it, and the time in a header."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        wait_seconds = getattr(request, "login_wait_seconds", None)
        if wait_seconds is not None:
            response.status_code = 429
            response.headers["Retry-After"] = str(wait_seconds)
        return response


def note_failure(
    *, credentials: Mapping[str, Any], request: HttpRequest | None = None, **_: Any
) -> None:
    """Hears `user_login_failed`."""
    if request is None or "username" not in credentials:
        return
    FAILURES.inc()
    now, name = time.time(), credentials["username"]
    _warn(request, name, _count(request, name, now, more=1), ceil(_window_end(now) - now))


def _warn(request: HttpRequest, name: str, failures: Failures, seconds: int) -> None:
    """Tell operators once of each limit that was reached in this window."""
    here, address, everywhere = failures
    network = _network(client_address(request))
    if here == settings.LOGIN_FAILURES_MAX:
        whose = _in_numbers(name)
        text = "login: %d wrong passwords for %s from %s: no more is heard for %d s"
        log.warning(text, here, whose, network, seconds)
    if address == settings.LOGIN_FAILURES_PER_ADDRESS_MAX:
        text = "login: %d wrong passwords from %s: no more is heard for %d s"
        log.warning(text, address, network, seconds)
    if everywhere == settings.LOGIN_FAILURES_MAX * EVERYWHERE:
        text = "login: %d wrong passwords for %s: each address has one more within %d s"
        log.warning(text, everywhere, _in_numbers(name), seconds)


def client_address(request: HttpRequest) -> str:
    """Who asks: going back from us, the first address that is no proxy of ours (PROXIES)."""
    named = request.headers.get("X-Forwarded-For", "").split(",")
    address = str(request.META.get("REMOTE_ADDR", ""))
    while named and _is_ours(address):
        address = named.pop().strip() or address
    return address


def _is_ours(address: str) -> bool:
    found = _read(address)
    return found is not None and any(found in network for network in settings.PROXIES)


def _count(request: HttpRequest, name: str, now: float, *, more: int) -> Failures:
    """What was counted of these, after so many more of each."""
    who = hashlib.sha256(name.encode()).hexdigest()[:32]
    address = _network(client_address(request))
    counted = [f"login {who} {address}", f"login at {address}", f"login as {who}"]
    return Failures(*shared_source().count(counted, _window_end(now), more))


def _window_end(now: float) -> int:
    window = settings.LOGIN_WINDOW_SECONDS
    return int((int(now) // window + 1) * window)


def _network(address: str) -> str:
    """What one client has of addresses; as it was written where it is none."""
    found = _read(address)
    if not isinstance(found, IPv6Address):
        return address[:64] if found is None else str(found)
    return str(ip_network((found, NETWORK_BITS), strict=False))


def _read(address: str) -> IPv4Address | IPv6Address | None:
    try:
        found = ip_address(address)
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found


def _in_words(seconds: int) -> str:
    if seconds < 60:
        return f"{seconds} second{'s' if seconds > 1 else ''}"
    minutes = ceil(seconds / 60)
    return f"{minutes} minute{'s' if minutes > 1 else ''}"


def _in_numbers(name: str) -> str:
    """Whose name it is. The name itself is not logged: it may be a password in the wrong field."""
    found = get_user_model().objects.filter(username=name).values_list("pk", flat=True).first()
    return "nobody's name" if found is None else f"user:{found}"
