"""nginx in front of a real web process: what it keeps, for how long, and what it never keeps."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from urllib.parse import urlencode

import pytest

from tests.config.caching.test_policy import PUBLIC, routes
from tests.deploy.edge import Edge

pytest.importorskip("gunicorn", reason="NO GUNICORN: the production set is not installed")

QUOTES_KEPT_MIN, QUOTES_KEPT = 5.0, 6.2  # nginx counts whole seconds, the last one included
ASKED_SECONDS = 4.0  # for quotes that are in demand, and end then, unless this takes a second
MARKET = "/public/market"
LIST = f"{MARKET}?"  # the same, kept apart from what other tests have asked for
IN_DEMAND, FORGOTTEN, LOST, NEVER_THERE, KEPT = (
    f"/public/quotes?symbols={symbol}" for symbol in ("AAPL", "IBM", "NFLX", "AMZN", "TSLA")
)


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    path = os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/usr/local/sbin"])
    if not shutil.which("nginx", path=path):
        pytest.skip("NO EDGE: nginx is not installed")
    edge = Edge(tmp_path_factory.mktemp("edge"))
    try:
        yield edge
    finally:
        edge.stop()


def test_only_public_pages_are_ever_kept(edge: Edge) -> None:
    """Every route, asked twice by somebody with a key and a cookie."""
    asked_for = {*routes(), "/public/nothing", "/public/quotes?symbols=wrong"} - {"/metrics"}
    for path in sorted(asked_for):
        asked = path + "?symbols=MSFT" if path == "/public/quotes" else path
        before = edge.upstream.asked[asked]
        first, second = edge.ask(asked, **edge.known), edge.ask(asked, **edge.known)
        came_through = edge.upstream.asked[asked] - before

        if path in PUBLIC:
            assert first.status == 200, (path, first.body)
            assert (first.cached, second.cached, came_through) == ("MISS", "HIT", 1), path
            assert first.headers["cache-control"] == PUBLIC[path]
            assert second.body == first.body
        else:
            assert second.cached == ("MISS" if path.startswith("/public/") else None), path
            assert came_through == 2, path
            assert (first.is_private, second.is_private) == (True, True), path


def test_nothing_of_a_caller_is_below_public(edge: Edge) -> None:
    anybody, known = edge.ask(MARKET), edge.ask(MARKET, **edge.known)
    for answer in (anybody, known, edge.ask("/public/nothing", **edge.known)):
        named = answer.headers.keys()
        assert "set-cookie" not in named
        assert not [name for name in named if name.startswith(("x-ratelimit", "apca"))]
        assert "cookie" not in answer.headers.get("vary", "").lower()
    assert anybody.body == known.body


def test_metrics_are_for_nobody_outside(edge: Edge) -> None:
    answer = edge.ask("/metrics", **edge.known)

    assert (answer.status, edge.upstream.asked["/metrics"]) == (404, 0)
    assert answer.is_private
    assert json.loads(answer.body)["code"] == json.loads(edge.ask("/v2/nothing").body)["code"]


def test_who_came_over_tls_logs_in(edge: Edge) -> None:
    """Through a proxy that ends TLS and says so; without its word the page's origin is not ours."""
    behind = Edge(edge.home, behind_tls=True)
    try:
        page = behind.ask("/login", **{"X-Forwarded-Proto": "https"})
        assert "Secure" in page.headers["set-cookie"]
        csrf = page.headers["set-cookie"].partition("csrftoken=")[2].partition(";")[0]
        said = {
            "Cookie": f"csrftoken={csrf}",
            "Content-Type": "application/x-www-form-urlencoded",
            "Origin": f"https://127.0.0.1:{behind.port}",
        }
        name, password = behind.login
        form = urlencode({"username": name, "password": password, "csrfmiddlewaretoken": csrf})

        over_tls = behind.send("POST", "/login", said | {"X-Forwarded-Proto": "https"}, form)
        assert (over_tls.status, over_tls.headers.get("location")) == (302, "/")
        assert "sessionid" in over_tls.headers["set-cookie"]
        assert behind.send("POST", "/login", said, form).status == 403
        # Who asks is whom the proxy names, and not what they wrote themselves before it.
        said["X-Forwarded-Proto"] = "https"
        wrong = form.replace("password=", "password=not-")
        for written, status in (("6.6.6.6", 200), ("7.7.7.7", 200), ("8.8.8.8", 429)):
            said["X-Forwarded-For"] = f"{written}, 203.0.113.5"
            assert behind.send("POST", "/login", said, wrong).status == status
        said["X-Forwarded-For"] = "6.6.6.6, 203.0.113.6"
        assert behind.send("POST", "/login", said, form).status == 302
    finally:
        behind.stop()


@pytest.fixture(scope="module")
def ended(edge: Edge) -> Edge:
    """Display quotes that were asked for have ended; until then they were kept."""
    edge.ask(FORGOTTEN)
    begun = time.monotonic()
    for path in (IN_DEMAND, LOST):
        edge.ask(path)
    loaded = time.monotonic()
    while time.monotonic() < loaded + QUOTES_KEPT:
        edge.ask(LIST)  # what nobody asks for is dropped
        for path in (IN_DEMAND, LOST):
            if time.monotonic() - begun < ASKED_SECONDS and edge.ask(path).cached != "HIT":
                loaded = time.monotonic()
                assert loaded - begun >= QUOTES_KEPT_MIN
        time.sleep(0.5)
    return edge


def test_a_crowd_sends_one_request_for_what_has_ended(ended: Edge) -> None:
    """In demand, forgotten or never there: one of fifty goes through. The list is kept longer."""
    assert (ended.ask(LIST).cached, ended.upstream.asked[LIST]) == ("HIT", 1)
    ended.upstream.delay_seconds = 0.3
    try:
        for path in (IN_DEMAND, FORGOTTEN, NEVER_THERE):
            before = ended.upstream.asked[path]
            answers = ended.ask_at_once(path)
            assert {answer.status for answer in answers} == {200}
            assert ended.upstream.asked[path] - before == 1, path
            assert ended.ask(path).cached == "HIT"
    finally:
        ended.upstream.delay_seconds = 0.0


def test_nothing_old_is_served_when_nobody_renews_it(ended: Edge) -> None:
    """The old one is for who asks while another renews it, not for want of a web process."""
    ended.ask(KEPT)
    ended.upstream.close()
    try:
        kept, gone = ended.ask(KEPT), ended.ask(LOST)
    finally:
        ended.upstream.open()
    assert kept.cached == "HIT"
    assert gone.status == 503
    assert gone.headers["retry-after"] == "1"
    assert gone.is_private


@pytest.mark.long
def test_a_list_is_kept_for_a_minute(edge: Edge) -> None:
    edge.ask(MARKET)
    begun, ended = time.monotonic(), None
    while ended is None:
        time.sleep(1)
        if edge.ask(MARKET).cached != "HIT":
            ended = time.monotonic() - begun
    assert ended < 62
