"""Every answer is counted once, by the door that it came through."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest
from prometheus_client import REGISTRY

from config.observability.answers import Counted
from config.server.http import HttpApplication


class Application:
    """Answers what it is asked for, and what it is told at its short ways."""

    from_memory = {"/memory": lambda query: ([], b"") if query else None}
    with_body = {"/body": lambda status: (status, [], b"") if status else None}

    def __call__(self, environ: Any, start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response(environ["PATH_INFO"].strip("/") + " Said", [])
        return [b""]


counted = Counted(Application())


def ask(method: str, status: str) -> None:
    counted({"REQUEST_METHOD": method, "PATH_INFO": f"/{status}"}, lambda *_: None)


def total(method: str, status: str) -> float:
    said = {"method": method, "status": status}
    return REGISTRY.get_sample_value("openbell_answers_total", said) or 0.0


def timed(method: str) -> float:
    return REGISTRY.get_sample_value("openbell_answer_seconds_count", {"method": method}) or 0.0


@pytest.mark.parametrize(
    ("door", "method", "status", "is_timed"),
    [
        (lambda: ask("GET", "404"), "GET", "404", True),
        (lambda: ask("ANY-WORD", "405"), "other", "405", True),
        (lambda: counted.from_memory["/memory"]("symbols=AAPL"), "GET", "200", False),
        (lambda: counted.with_body["/body"](422), "POST", "422", True),
    ],
)
def test_an_answer_is_counted_once(
    door: Callable[[], Any], method: str, status: str, is_timed: bool
) -> None:
    before, timed_before = total(method, status), timed(method)
    door()
    assert total(method, status) == before + 1
    assert timed(method) == timed_before + is_timed


def test_what_a_short_way_leaves_to_the_ordinary_one_is_not_counted_there() -> None:
    before = timed("POST"), total("GET", "200")
    assert counted.from_memory["/memory"]("") is None
    assert counted.with_body["/body"](0) is None
    assert (timed("POST"), total("GET", "200")) == before


def test_an_application_that_raises_is_counted_as_500() -> None:
    def fails(*_: Any) -> Iterable[bytes]:
        raise RuntimeError

    before = total("GET", "500")
    with pytest.raises(RuntimeError):
        Counted(fails)({"REQUEST_METHOD": "GET", "PATH_INFO": "/"}, lambda *_: None)
    assert total("GET", "500") == before + 1


async def test_a_request_that_no_thread_has_time_for_is_counted_as_refused() -> None:
    full = HttpApplication(Application(), threads=1, waiting_max=-1)
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b""}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    before = REGISTRY.get_sample_value("openbell_requests_refused_total") or 0.0
    await full({"method": "GET"}, receive, send)
    full.close()
    assert sent[0]["status"] == 503
    assert REGISTRY.get_sample_value("openbell_requests_refused_total") == before + 1
