"""What browsers and proxies may keep of our answers, as the policy table says.

Static files have their own rule; they are answered before this is asked.
"""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from config.caching.policy import cache_control


class PrivateAnswers:
    """Gives every answer without a Cache-Control of its own the one of its route."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        told = cache_control(request.path, response.status_code)
        response.headers.setdefault("Cache-Control", told)
        return response
