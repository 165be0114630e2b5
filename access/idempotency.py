"""Idempotency-Key: a write that is asked for twice is done once, and answered twice.

A client that does not know what became of its request sends it again with the same key. The second
one changes nothing and is answered as the first was, with `Idempotent-Replayed: true`. It may come
at once, while the first is being carried out: then it waits for it, or is told to come back. What
was refused has changed nothing and may be tried again under its key, with another outcome; what
found nothing to change was carried out all the same: who cancels all orders, of which there are
none, does not mean those that come later.

Keys are the caller's own (of an API key, or of a user's session) and good for 24 hours. The same
key with another request is a mistake of the client's and refused: method, path, query, account and
body are compared, byte by byte.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import re
from collections.abc import Callable
from typing import Any

from django.contrib.sessions.backends.base import UpdateError
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.encoding import force_str
from rest_framework.request import Request
from rest_framework.views import APIView

from access.errors import IdempotencyKeyInvalid, IdempotencyKeyReused
from access.rebuilding import rebuild
from events import idempotency
from events.idempotency import Promise

HEADER = "Idempotency-Key"
REPLAYED = "Idempotent-Replayed"
WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})
KEY_LENGTH_MAX = 255
KEY = re.compile(rf"[\x21-\x7e]{{1,{KEY_LENGTH_MAX}}}")
# Their answers hold a secret that is shown once and never stored.
NEVER_KEPT = frozenset({"/api/keys"})
# They ask, and change nothing whenever they are asked.
QUESTIONS = frozenset({"/v2/orders/preview"})
MANY = 207  # an answer with the outcome of each of several changes
# A session acts for another account after some of them.
NAME_THEIR_ACCOUNT = ("/api/accounts", "/api/session", "/api/transfers")

View = Callable[[], Any]

logger = logging.getLogger(__name__)


class OnceOnly:
    """Middleware, the last one: gives writes of the API that name a key to `Protected`."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_view(
        self, request: HttpRequest, view: Any, arguments: Any, named: Any
    ) -> HttpResponseBase | None:
        is_write = request.method in WRITES and hasattr(view, "cls")
        if not is_write or HEADER not in request.headers:
            return None
        return _protected(request, lambda: view(request, *arguments, **named))


class Protected(APIView):
    """Stands in for the view of a write that names a key, and calls that view at most once."""

    permission_classes = ()

    def initial(self, request: Request, *_: Any, **__: Any) -> None:
        """Learn who asks, and count it. Everything else is the view's own to judge."""
        self.perform_authentication(request)
        self.check_throttles(request)

    def finalize_response(self, request: Request, response: Any, *_: Any, **__: Any) -> Any:
        """Leave the view's own answer as it is."""
        if getattr(response, "is_rendered", False):
            return response
        return super().finalize_response(request, response)

    def answer(self, request: Request, view: View) -> HttpResponseBase:
        """The answer of a former request of this key, else the view's.

        Raises IdempotencyKeyInvalid, and what `_remembered` does.
        """
        credential: Any = request.auth
        if credential is None:
            return view()  # which refuses it
        promise = Promise(credential.actor, _key(request), _digest(request))
        return self._remembered(request, promise, view) or self._done(request, promise, view)

    post = put = patch = delete = answer

    def _done(self, request: Request, promise: Promise, view: View) -> HttpResponseBase:
        """Have the view do it. Where another request of this key was faster, answer as that."""
        with idempotency.promised(promise):
            response = view()
            response.render()
        try:
            _save_session(request)
            if promise.is_kept:
                _keep(request, promise, response.status_code, response.content.decode())
            elif not _keep_unchanged(request, promise, response):
                return self._remembered(request, promise, view) or response
        except DatabaseError:  # what was done is done, and the view's answer says so
            logger.warning("no answer is kept for %s", promise.key, exc_info=True)
        return response

    def _remembered(self, request: Request, promise: Promise, view: View) -> HttpResponse | None:
        """The answer to a request that was carried out before; None where none was.

        Raises IdempotencyKeyReused, and what `rebuild` does.
        """
        done = idempotency.find(promise)
        if done is None:
            return None
        if done.request_digest != promise.digest:
            raise IdempotencyKeyReused(done.key)
        if done.status is None:
            done.status, answer = rebuild(request, done, view)
            done.answer = force_str(self.get_renderers()[0].render(answer))
            _keep(request, promise, done.status, done.answer)
        replayed = HttpResponse(done.answer, "application/json", done.status)
        if not done.answer:
            del replayed.headers["Content-Type"]
        replayed.headers[REPLAYED] = "true"
        return replayed


_protected = Protected.as_view()


def _key(request: Request) -> str:
    key = request.headers[HEADER]
    if not KEY.fullmatch(key):
        raise IdempotencyKeyInvalid(maximum=KEY_LENGTH_MAX)
    return key


def _digest(request: Request) -> str:
    """Of everything that is asked, and for which account unless that is part of it."""
    credential: Any = request.auth
    account = "" if request.path.startswith(NAME_THEIR_ACCOUNT) else credential.account_id
    asked = hashlib.sha256()
    asked.update(f"{request.method} {request.get_full_path()} {account}\n".encode())
    asked.update(request._request.body)
    return asked.hexdigest()


def _keep(request: Request, promise: Promise, status: int, answer: str) -> None:
    if status < 400 and request.path not in NEVER_KEPT:
        idempotency.complete(promise, status, answer)


def _keep_unchanged(request: Request, promise: Promise, response: Any) -> bool:
    """Keep the answer of a view that did what it was asked and found nothing to change; False where
    it did not, or another request of this key was faster."""
    is_refused = response.status_code >= 400 or (response.status_code == MANY and response.data)
    if is_refused or request.path in NEVER_KEPT | QUESTIONS:
        return False
    credential: Any = request.auth
    return idempotency.keep_unchanged(
        promise, response.status_code, response.content.decode(), credential.account_id
    )


def _save_session(request: Request) -> None:
    """Before the answer is kept: whoever hears it again finds the session as it says."""
    session = getattr(request._request, "session", None)
    if session is not None and session.modified:
        with contextlib.suppress(UpdateError):  # logged out beside us; its middleware says so
            session.save()
