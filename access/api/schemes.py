"""How the OpenAPI document describes our two ways of authentication; loaded when apps are ready."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from drf_spectacular.extensions import OpenApiAuthenticationExtension

from access.authentication import SHOWN_HEADER


class KeyScheme(OpenApiAuthenticationExtension):
    target_class = "access.authentication.KeyAuthentication"
    name = ["key id", "key secret"]  # both at once

    def get_security_definition(self, auto_schema: Any) -> list[dict[str, Any]]:
        headers = ("APCA-API-KEY-ID", "APCA-API-SECRET-KEY")
        return [{"type": "apiKey", "in": "header", "name": header} for header in headers]


class SessionScheme(OpenApiAuthenticationExtension):
    target_class = "access.authentication.SessionAuthentication"
    name = "login session"

    def get_security_definition(self, auto_schema: Any) -> dict[str, Any]:
        return {
            "type": "apiKey",
            "in": "cookie",
            "name": settings.SESSION_COOKIE_NAME,
            "description": "Whatever changes something needs the X-CSRFToken header, too. "
            f"{SHOWN_HEADER} may say the id of the account that is meant: where the session acts "
            "for another one, it is answered 409 and nothing is done.",
        }
