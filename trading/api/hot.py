"""The short way of `POST /v2/orders` with an API key: carried out before Django is asked.

Django's middleware serves pages and sessions, and REST framework negotiates what is the same for
every order; together they cost about as much as all that is done for the order itself. So a plain
request is read here and handed to the same parts as the ordinary view's:

- The same functions read the body and write the answer (`Api`), the same serializer checks its
  fields, the same use case places the order, the same words are said of every error. A property
  test compares both ways, body by body.
- Plain is a key in its two headers, a JSON body of known length, no query and no Idempotency-Key.
  All else goes the ordinary way (`ordinary`), as if nobody had looked at it: so do a key that lets
  nobody in, a caller beyond the limit (who may be counted twice), and everybody while the primary
  is away.
- An order whose outcome nobody can say may be stored, though no commit told of it: its account is
  marked before the answer leaves (`accounts_changed`), as after any other request.
- A thread's connection to the database is looked at before the request, as Django does: one that
  broke or is too old is closed. So none has to be closed after it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from http.client import responses
from typing import Any, Protocol

from django.db import connections

from events import acting, log
from quotes.api.hot import Environ, Headers, Wsgi, answer_headers, is_our_host
from trading import orders
from trading.api.serializers import read_order
from trading.wire import order_json

PATH = "/v2/orders"
BODY_MAX = 16 * 1024  # bytes; what is longer is for Django to judge
JSON_TYPES = frozenset({"", "application/json", "application/json; charset=utf-8"})

Answer = tuple[int, Headers, bytes]


class Credential(Protocol):
    """Who is let in, and for which account."""

    @property
    def account_id(self) -> int | None: ...

    @property
    def actor(self) -> str: ...


class Gate(Protocol):
    """Who is let through. `access` implements it."""

    def let_in(self, key_id: str, secret: str) -> Credential | None:
        """Who holds the key; None for a key that does not work. May ask the database."""

    def pass_through(self, actor: str, path: str, *, may_wait: bool) -> Headers | None:
        """Count the request: the headers that say what is left. None beyond the limit."""


class Api(Protocol):
    """What all answers of the API have in common. `config` implements it."""

    def read_json(self, body: bytes) -> dict[str, Any]:
        """The object that a body is."""

    def write_json(self, data: Any) -> bytes:
        """The body of an answer."""

    def answer_error(self, error: Exception) -> tuple[int, dict[str, str], dict[str, Any]]:
        """Status, headers and body for any error."""


class ShortWay:
    """A WSGI application before another, and the orders that it places itself."""

    def __init__(
        self,
        ordinary: Wsgi,
        *,
        gate: Gate,
        api: Api,
        name_request: Callable[[str], str],
        is_shut: Callable[[], bool],
        accounts_changed: Callable[[Iterable[int]], None],
    ) -> None:
        self._ordinary = ordinary
        self._gate = gate
        self._api = api
        self._name_request = name_request
        self._is_shut = is_shut
        self._accounts_changed = accounts_changed
        self.with_body = {PATH: self._answer_whole}

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        asked = (environ["REQUEST_METHOD"], environ["PATH_INFO"], environ.get("QUERY_STRING", ""))
        is_order = asked == ("POST", PATH, "")
        answer = self._answer(environ, lambda: read_body(environ)) if is_order else None
        if answer is None:
            return self._ordinary(environ, start_response)
        status, headers, body = answer
        start_response(f"{status} {responses[status]}", headers)
        return [body]

    def _answer_whole(self, headers: Mapping[str, str], body: bytes) -> Answer | None:
        """For a server that has read a POST of this path, without a query, as a whole."""
        return self._answer(headers, lambda: body)

    def _answer(self, said: Mapping[str, Any], read: Callable[[], bytes]) -> Answer | None:
        """The answer to headers, named as in a WSGI environment, and a body, read where it counts.

        The request has its name while it is carried out.
        """
        if not is_plain(said) or self._is_shut():
            return None
        close_broken_connections()
        name = self._name_request(said.get("HTTP_X_REQUEST_ID", ""))
        before, nobody = log.request_id.set(name), acting.account_id.set(None)
        try:
            return self._carry_out(said, read, name)
        finally:
            acting.account_id.reset(nobody)
            log.request_id.reset(before)

    def _carry_out(
        self, said: Mapping[str, Any], read: Callable[[], bytes], name: str
    ) -> Answer | None:
        rate: Headers = []
        try:
            credential = self._let_in(said)
            if credential is None:
                return None
            found = self._gate.pass_through(credential.actor, PATH, may_wait=True)
            if found is None:
                return None
            rate = found
            status, more, data = self._place(credential, read())
        except Exception as error:  # as the ordinary view's: whatever it is has its words
            status, more, data = self._api.answer_error(error)
            if status >= 500:
                self._mark_account()
        body = self._api.write_json(data)
        return status, [*answer_headers(body, name, rate), *more.items()], body

    def _mark_account(self) -> None:
        account_id = acting.account_id.get()
        if account_id is not None:
            self._accounts_changed([account_id])

    def _let_in(self, said: Mapping[str, Any]) -> Credential | None:
        """Who asks; None where the ordinary way is to find out, or to refuse."""
        key_id, secret = said["HTTP_APCA_API_KEY_ID"], said["HTTP_APCA_API_SECRET_KEY"]
        credential = self._gate.let_in(key_id, secret)
        if credential is None or credential.account_id is None:
            return None
        acting.account_id.set(credential.account_id)
        return credential

    def _place(
        self, credential: Credential, body: bytes
    ) -> tuple[int, dict[str, str], dict[str, Any]]:
        assert credential.account_id is not None
        order = orders.submit(
            account_id=credential.account_id,
            request=read_order(self._api.read_json(body)),
            actor=credential.actor,
        )
        return 200, {}, order_json(order)


def is_plain(said: Mapping[str, Any]) -> bool:
    """Whether a POST has nothing about it but a key, and a body that all agree on."""
    length = said.get("CONTENT_LENGTH", "")
    return (
        "HTTP_APCA_API_KEY_ID" in said
        and "HTTP_APCA_API_SECRET_KEY" in said
        and "HTTP_IDEMPOTENCY_KEY" not in said
        and "HTTP_TRANSFER_ENCODING" not in said
        and said.get("CONTENT_TYPE", "").lower() in JSON_TYPES
        and length.isascii()
        and length.isdecimal()
        and int(length) <= BODY_MAX
        and is_our_host(said.get("HTTP_HOST", ""))
    )


def read_body(environ: Environ) -> bytes:
    """The body of a WSGI request whose length is known."""
    body: bytes = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
    return body


def close_broken_connections() -> None:
    """Close this thread's connections that broke or are too old, as Django's requests begin."""
    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block:  # as a test's is
            connection.close_if_unusable_or_obsolete()
