"""The description of the API: complete, without complaints, and readable without the network."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from drf_spectacular.drainage import GENERATOR_STATS
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.validation import validate_schema
from rest_framework.views import APIView

from access.api.outline import outline
from access.api.refusals import listed
from config.api import API_ROOTS
from config.openapi import OTHER


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    GENERATOR_STATS.reset()
    return SchemaGenerator().get_schema(request=None, public=True)


def api_routes(
    patterns: list[Any] | None = None, prefix: str = ""
) -> list[tuple[str, type[APIView]]]:
    """Every path of the API and the view behind it."""
    routes = []
    for entry in get_resolver().url_patterns if patterns is None else patterns:
        path = prefix + str(entry.pattern)
        if isinstance(entry, URLResolver):
            routes += api_routes(entry.url_patterns, path)
        elif isinstance(entry, URLPattern) and hasattr(entry.callback, "cls"):
            routes.append((path, entry.callback.cls))
    return routes


def test_schema_generates_without_errors_or_warnings(document: dict[str, Any]) -> None:
    assert dict(GENERATOR_STATS._error_cache) == {}
    assert dict(GENERATOR_STATS._warn_cache) == {}


def test_schema_is_valid_openapi(document: dict[str, Any]) -> None:
    validate_schema(document)


def test_every_operation_is_named_grouped_and_tells_of_errors(document: dict[str, Any]) -> None:
    operations = [
        operation
        for item in document["paths"].values()
        for method, operation in item.items()
        if method != "parameters"
    ]

    assert all(operation.get("summary") for operation in operations)
    assert all(operation["tags"] != [OTHER] for operation in operations)
    assert all("default" in operation["responses"] for operation in operations)
    ids = [operation["operationId"] for operation in operations]
    assert len(ids) == len(set(ids))


def test_every_route_is_described(document: dict[str, Any]) -> None:
    described = {re.sub(r"\{.*?\}", "{}", path) for path in document["paths"]}
    hidden = {"^api/schema/?$"}
    served = {
        "/" + re.sub(r"<.*?>", "{}", path) for path, _view in api_routes() if path not in hidden
    }

    assert described == served


@pytest.mark.django_db
@pytest.mark.parametrize("method", ["get", "post", "put", "patch", "delete", "options", "head"])
def test_every_route_answers_a_stranger_in_json_and_never_redirects(method: str) -> None:
    routes = [re.sub(r"<.*?>", "AAPL", path) for path, _view in api_routes() if "^" not in path]
    assert len(routes) > 20

    for path in routes:
        answer = getattr(Client(), method)(f"/{path}")
        allowed = (200, 400, 405) if path.startswith("public/") else (401, 405)
        assert answer.status_code in allowed, (path, answer.status_code)
        assert answer.headers["Content-Type"] == "application/json", path
        slashed = getattr(Client(), method)(f"/{path}/")
        assert slashed.status_code in (401, 404, 405), path


def test_all_routes_are_below_the_roots_that_answer_in_json() -> None:
    assert {path.lstrip("^").partition("/")[0] for path, _view in api_routes()} <= API_ROOTS


@pytest.mark.parametrize("path", ["/api/schema/", "/api/schema"])
def test_schema_is_served_as_json_to_anyone(path: str) -> None:
    answer = Client().get(path)

    assert answer.headers["Content-Type"] == "application/json"
    assert answer.json()["openapi"].startswith("3.")


def test_page_shows_every_operation_and_loads_nothing_from_elsewhere(
    document: dict[str, Any],
) -> None:
    answer = Client().get("/api/docs/")
    page = answer.content.decode()

    assert answer.status_code == 200
    for group in outline(document):
        for operation in group.operations:
            assert f'id="{operation.anchor}"' in page
            assert operation.path in page
    assert re.findall(r'(?:src|href)="(?:https?:)?//', page) == []
    assert "<script" not in page


def test_page_lists_every_code_that_we_may_answer_with() -> None:
    page = Client().get("/api/docs/").content.decode()

    codes = {error.code for error in listed()}
    assert {40010001, 40310000, 40410000, 42210000, 42910000, 50310000} <= codes
    assert all(f"<code>{code}</code>" in page for code in codes)
    assert "insufficient buying power" in page
    assert "duplicate client order id" in page


def test_every_write_may_carry_a_key_that_keeps_it_from_being_done_twice(
    document: dict[str, Any],
) -> None:
    takes_one = {
        method
        for item in document["paths"].values()
        for method, operation in item.items()
        if any(each["name"] == "Idempotency-Key" for each in operation.get("parameters", []))
    }
    assert takes_one == {"post", "put", "patch", "delete"}


def test_outline_names_fields_kinds_and_bounds(document: dict[str, Any]) -> None:
    operations = {
        operation.anchor: operation for group in outline(document) for operation in group.operations
    }
    bars = {field.name: field for field in operations["list_bars"].fields}

    assert (bars["limit"].kind, bars["limit"].place) == ("integer 1 to 10000", "query")
    assert bars["symbols"].required
    assert bars["sort"].kind == "asc · desc"
    revoke = operations["revoke_key"].answers
    assert [(answer.status, answer.kind) for answer in revoke] == [("204", "no body")]


def test_every_answer_with_a_body_has_its_shape(document: dict[str, Any]) -> None:
    bodiless = {
        (operation.method, operation.path)
        for group in outline(document)
        for operation in group.operations
        if [answer.kind for answer in operation.answers] == ["no body"]
    }

    assert bodiless == {
        ("DELETE", "/v2/orders/{order_id}"),
        ("DELETE", "/v2/watchlists/{watchlist_id}"),
        ("DELETE", "/v2/watchlists:by_name"),
        ("DELETE", "/api/keys/{key_id}"),
    }
