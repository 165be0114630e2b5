"""Every route has a cache policy, and real answers say what it says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, include, path, resolve
from whitenoise import WhiteNoise

from config.caching.policy import IMMUTABLE, NAMESPACES, PRIVATE, cache_control, route_policy
from tests.api import recording
from tests.people import a_trader

PUBLIC = {
    "/public/market": "public, max-age=60, s-maxage=60, stale-while-revalidate=6, stale-if-error=0",
    "/public/quotes": "public, max-age=5, s-maxage=5, stale-while-revalidate=6, stale-if-error=0",
}
EXAMPLES = {"int": "1", "str": "AAPL", "path": "x", "slug": "x", "uuid": "0" * 32}


def routes(patterns: list[Any] | None = None, prefix: str = "/") -> Iterator[str]:
    """A path that leads to each view of the URLconf."""
    for entry in get_resolver().url_patterns if patterns is None else patterns:
        path = prefix + _example(str(entry.pattern))
        if isinstance(entry, URLResolver):
            yield from routes(entry.url_patterns, path)
        elif isinstance(entry, URLPattern):
            yield path


def views(patterns: list[Any]) -> Iterator[Any]:
    """Every view of the URLconf, however it is reached."""
    for entry in patterns:
        if isinstance(entry, URLResolver):
            yield from views(entry.url_patterns)
        else:
            yield entry.callback


def _example(pattern: str) -> str:
    if pattern.startswith("^(?:"):  # the API's roots, for what is not found below them
        return "v2/x"
    # Of a group its first choice; one that takes anything is given something.
    pattern = re.sub(r"\(\?P<\w+>(\w*)[^)]*\)", lambda match: match[1] or "x", pattern)
    pattern = re.sub(r"<(?:(\w+):)?\w+>", lambda match: EXAMPLES.get(match[1], "x"), pattern)
    return pattern.strip("^$").removesuffix("/?")


def test_every_route_has_a_policy() -> None:
    assert [path for path in routes() if route_policy(path) is None] == []


def test_route_that_nobody_named_is_found() -> None:
    def view(request: HttpRequest) -> HttpResponse:
        return HttpResponse()

    below = include([path("<str:symbol>/deeper", view)])
    patterns = [*get_resolver().url_patterns, path("unnamed", view), path("below/", below)]
    unnamed = [found for found in routes(patterns) if route_policy(found) is None]
    assert unnamed == ["/unnamed", "/below/AAPL/deeper"]


def test_walk_comes_by_every_view() -> None:
    missed = set(views(get_resolver().url_patterns)) - {resolve(each).func for each in routes()}
    # Trading answers for these, where a position can also be closed.
    assert {view.cls.__name__ for view in missed} == {"PositionList", "PositionDetail"}


def test_only_the_public_routes_are_shared() -> None:
    shared = {path: route_policy(path) for path in routes()}
    found = {path: policy.cache_control for path, policy in shared.items() if policy.is_shared}
    assert found == PUBLIC


def test_path_that_nobody_named_is_private() -> None:
    assert route_policy("/nobody/named/this") is None
    assert cache_control("/nobody/named/this", 200) == PRIVATE


def test_static_files_are_kept_as_long_as_whitenoise_says() -> None:
    assert f"max-age={WhiteNoise.FOREVER}, public, immutable" == IMMUTABLE
    assert cache_control("/static/trading/js/chart.0123456789ab.js", 200) == IMMUTABLE


# Apart from quotes, which time does not end, and sums of the past, which never change.
@pytest.mark.parametrize("name", NAMESPACES.keys() - {"latest", "moves"})
def test_query_results_live_for_half_a_minute_to_a_minute(name: str) -> None:
    assert 30 <= NAMESPACES[name].fresh_seconds <= 60


@pytest.mark.parametrize("name", NAMESPACES)
def test_who_waits_outlives_a_dead_holder(name: str) -> None:
    policy = NAMESPACES[name]
    assert policy.lock_seconds < policy.wait_seconds


@pytest.mark.django_db
@pytest.mark.parametrize("signed_in", [True, False])
def test_answers_say_what_the_policy_says(signed_in: bool) -> None:
    recording.play()
    client = a_trader().browser() if signed_in else Client()
    client.raise_request_exception = False
    for asked in dict.fromkeys(routes()):
        query = "?symbols=AIG" if asked == "/public/quotes" else ""
        answer = client.get(asked + query)
        told = answer.headers["Cache-Control"]
        if asked in PUBLIC:
            assert (asked, answer.status_code, told) == (asked, 200, PUBLIC[asked])
        else:
            # Django's admin and log-in pages say it in more words of their own.
            assert {"private", "no-store"} <= set(told.split(", ")), asked
            assert "s-maxage" not in told, asked
