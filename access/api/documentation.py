"""The API's description of itself: for programs, and as a page that loads nothing from outside."""

from __future__ import annotations

from functools import cache
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.generic import View
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.utils import extend_schema
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from access.api.outline import outline
from access.api.refusals import listed
from quotes.streaming.limits import SOCKETS_PER_ACCOUNT_MAX, SOCKETS_PER_KEY_MAX


@cache
def document() -> dict[str, Any]:
    """The OpenAPI document; it cannot change while the process runs."""
    return SchemaGenerator().get_schema(request=None, public=True)


class SchemaDocument(APIView):
    authentication_classes = []
    permission_classes = [AllowAny]

    @extend_schema(exclude=True)
    def get(self, request: Request) -> Response:
        return Response(document())


class DocumentationPage(View):
    def get(self, request: HttpRequest) -> HttpResponse:
        page = {
            "groups": outline(document()),
            "errors": listed(),
            "base_url": f"{request.scheme}://{request.get_host()}",
            "sockets_per_account": SOCKETS_PER_ACCOUNT_MAX,
            "sockets_per_key": SOCKETS_PER_KEY_MAX,
        }
        return render(request, "access/documentation.html", page)
