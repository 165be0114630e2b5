"""What every answer of the API has in common: JSON in, JSON out, and one shape of error.

Errors have the wire contract's body, `{"code": …, "message": …}`, wherever they arise: in a use
case, in REST framework, in Django before a view is found, or in a bug.
"""

from __future__ import annotations

import json
import logging
from decimal import Decimal
from typing import Any

import orjson
from django.core.exceptions import (
    BadRequest,
    PermissionDenied,
    RequestDataTooBig,
    SuspiciousOperation,
)
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.views import defaults
from django.views.csrf import csrf_failure as csrf_failure_page
from django.views.decorators.csrf import csrf_exempt
from rest_framework import exceptions, negotiation, parsers, renderers
from rest_framework.response import Response

from events.errors import OpenbellError, OutcomeUnknown, Unavailable
from events.transactions import CommitLost

logger = logging.getLogger(__name__)

# A number beyond this many digits is no amount of anything, and arithmetic on it never ends.
EXPONENT_MAX = 100
MESSAGE_LENGTH_MAX = 300
# Everything a program may ask; a person's pages are elsewhere and answer in HTML.
API_ROOTS = frozenset({"v1", "v1beta1", "v1beta3", "v2", "v3", "api", "public"})


class JSONRenderer(renderers.BaseRenderer):
    """orjson. Decimals become strings in plain notation, aware UTC instants end in Z."""

    media_type = "application/json"
    format = "json"
    charset = None

    def render(self, data: Any, accepted_media_type: Any = None, context: Any = None) -> bytes:
        return write_json(data)


class JSONParser(parsers.JSONParser):
    """A JSON object, with numbers as exact as they were written.

    orjson reads it first, because it is strict: no NaN, no broken text, no endless nesting.
    """

    def parse(self, stream: Any, media_type: Any = None, parser_context: Any = None) -> Any:
        return read_json(stream.read())


class JSONOnly(negotiation.DefaultContentNegotiation):
    """Neither a missing Content-Type nor any Accept is a reason to refuse."""

    def select_parser(self, request: Any, parsers: Any) -> Any:
        return parsers[0]

    def select_renderer(self, request: Any, renderers: Any, format_suffix: Any = None) -> Any:
        return renderers[0], renderers[0].media_type


def read_json(body: bytes) -> dict[str, Any]:
    """The object that a body is; an empty body is an empty one. Raises ParseError."""
    if not body.strip():
        return {}
    try:
        orjson.loads(body)
        data = _decoder.decode(body.decode())
    except (ValueError, RecursionError) as error:
        raise exceptions.ParseError("request body is not valid JSON") from error
    if not isinstance(data, dict):
        raise exceptions.ParseError("request body must be a JSON object")
    return data


def write_json(data: Any) -> bytes:
    """The body of an answer; empty for None."""
    if data is None:
        return b""
    return orjson.dumps(data, default=_as_json, option=orjson.OPT_UTC_Z)


def error_response(error: Exception, context: dict[str, Any] | None = None) -> Response:
    """REST framework's exception handler: any error as the contract's body."""
    status, headers, body = answer_error(error)
    return Response(body, status=status, headers=headers)


def answer_error(error: Exception) -> tuple[int, dict[str, str], dict[str, Any]]:
    """Status, headers and body for an error; one that is ours is logged."""
    status, body = describe(error)
    if status >= 500:
        logger.error("answered %s to a request", status, exc_info=error)
    return status, _headers(error, status), body


def describe(error: Exception) -> tuple[int, dict[str, Any]]:
    """The HTTP status and the body for an error."""
    match error:
        case OpenbellError():
            return error.http_status, error.body()
        case CommitLost():
            return OutcomeUnknown.http_status, OutcomeUnknown().body()
        case OperationalError() | InterfaceError():  # the database is away, or too busy
            return Unavailable.http_status, Unavailable().body()
        case exceptions.ValidationError():
            return 422, _body(422, _first_message(error.detail), code=40010001)
        case exceptions.NotAuthenticated() | exceptions.AuthenticationFailed():
            return 401, _body(401, "request is not authorized")
        case exceptions.ParseError():
            return 400, _body(400, _first_message(error.detail), code=40010001)
        case exceptions.APIException():
            return error.status_code, _body(error.status_code, _first_message(error.detail))
        case Http404():
            return 404, _body(404, "not found")
        case PermissionDenied():
            return 403, _body(403, "forbidden")
        case RequestDataTooBig():
            return 413, _body(413, "request body is too large")
        case SuspiciousOperation() | BadRequest():
            return 400, _body(400, "malformed request", code=40010001)
    return 500, _body(500, "internal server error")


@csrf_exempt
def endpoint_not_found(request: HttpRequest) -> HttpResponse:
    """For every path below the API's roots that leads nowhere."""
    return _answer(404, _body(404, "endpoint not found."))


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    if not _is_api(request):
        return defaults.bad_request(request, exception)
    return _answer(*describe(exception))


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    if not _is_api(request):
        return defaults.permission_denied(request, exception)
    return _answer(403, _body(403, "forbidden"))


def page_not_found(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    if not _is_api(request):
        return defaults.page_not_found(request, exception)
    return endpoint_not_found(request)


def server_error(request: HttpRequest) -> HttpResponseBase:
    if not _is_api(request):
        return defaults.server_error(request)
    return _answer(500, _body(500, "internal server error"))


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponseBase:
    if not _is_api(request):
        return csrf_failure_page(request, reason=reason)
    return _answer(403, _body(403, "the CSRF token is missing or wrong"))


def _as_json(value: Any) -> Any:
    if isinstance(value, Decimal):
        return format(value, "f")
    raise TypeError(f"{type(value)} has no place in JSON")


def _exact(number: str) -> Decimal:
    value = Decimal(number)
    if abs(value.adjusted()) > EXPONENT_MAX:
        raise ValueError(f"{number} is out of all proportion")
    return value


_decoder = json.JSONDecoder(parse_float=_exact)


def _body(status: int, message: str, *, code: int | None = None) -> dict[str, Any]:
    """The contract's codes are the status, then 10000, except where one is given."""
    return {
        "code": code or status * 100_000 + 10_000,
        "message": message[:MESSAGE_LENGTH_MAX],
    }


def _first_message(detail: Any) -> str:
    """One sentence out of the lists and dicts of messages that REST framework keeps."""
    if isinstance(detail, dict):
        field, messages = next(iter(detail.items()))
        message = _first_message(messages)
        return message if field == "non_field_errors" else f"{field}: {message}"
    if isinstance(detail, list):
        return _first_message(detail[0])
    return str(detail)


def _headers(error: Exception, status: int) -> dict[str, str]:
    headers = {}
    if challenge := getattr(error, "auth_header", None):
        headers["WWW-Authenticate"] = challenge
    wait = getattr(error, "retry_after_seconds", 1 if status == 503 else None)
    if wait is not None:
        headers["Retry-After"] = str(wait)
    return headers


def _answer(status: int, body: dict[str, Any]) -> HttpResponse:
    return HttpResponse(orjson.dumps(body), status=status, content_type="application/json")


def _is_api(request: HttpRequest) -> bool:
    return request.path.lstrip("/").partition("/")[0] in API_ROOTS
