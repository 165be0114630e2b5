"""A name for every request, so that an answer, its log lines and its events find each other."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from events import log

HEADER = "X-Request-ID"
ACCEPTABLE = re.compile(r"[A-Za-z0-9._-]{1,64}")


def request_name(given: str) -> str:
    """The name that the caller gave, if it may be one, else a new one."""
    return given if ACCEPTABLE.fullmatch(given) else secrets.token_hex(16)


class RequestName:
    """Takes the caller's X-Request-ID, or makes one, and gives it back with the answer."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        name = request_name(request.headers.get(HEADER, ""))
        before = log.request_id.set(name)
        try:
            response = self.get_response(request)
        finally:
            log.request_id.reset(before)
        response.headers[HEADER] = name
        return response
