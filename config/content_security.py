"""The Content-Security-Policy of every answer.

Inline scripts run only with this request's nonce: the import map of the trading screen says
`<script type="importmap" nonce="{{ request.csp_nonce }}">`. An answer that already carries a
policy keeps it.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.utils.functional import SimpleLazyObject

HEADER = "Content-Security-Policy"
POLICY = "; ".join(
    [
        "default-src 'self'",
        "script-src 'self'{nonce}",
        "style-src 'self' 'unsafe-inline'",  # the chart library writes its own style element
        "img-src 'self' data:",
        "connect-src 'self'",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    ]
)


class ContentSecurityPolicy:
    """Gives each request a `csp_nonce` and each answer the policy that names it."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        nonces: list[str] = []

        def nonce() -> str:
            nonces[:] = nonces or [secrets.token_urlsafe(16)]
            return nonces[0]

        request.csp_nonce = SimpleLazyObject(nonce)  # type: ignore[attr-defined]
        response = self.get_response(request)
        # Only a page that used its nonce may run inline scripts at all.
        said = f" 'nonce-{nonces[0]}'" if nonces else ""
        response.headers.setdefault(HEADER, POLICY.format(nonce=said))
        return response
