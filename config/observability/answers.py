"""Counts every answer, whichever way its request goes, and how long a thread took for it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from prometheus_client import Counter, Histogram

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0, 2.5, 10.0)

ANSWERS = Counter("openbell_answers_total", "Answers to requests.", ["method", "status"])
SECONDS = Histogram(
    "openbell_answer_seconds",
    "What a thread took for an answer; answers from memory take none.",
    ["method"],
    buckets=BUCKETS,
)

Environ = dict[str, Any]
Wsgi = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]


class Counted:
    """A WSGI application before another, whose short ways (`config.server.at_once`) it offers."""

    def __init__(self, application: Wsgi) -> None:
        self._application = application
        self.from_memory = _each(_from_memory, getattr(application, "from_memory", {}))
        self.with_body = _each(_with_body, getattr(application, "with_body", {}))

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        begun = time.perf_counter()
        said = "500"  # of one that raises

        def start(status: str, *more: Any) -> Any:
            nonlocal said
            said = status[:3]
            return start_response(status, *more)

        try:
            return self._application(environ, start)
        finally:
            _count(said, time.perf_counter() - begun, method=environ["REQUEST_METHOD"])


def _each(counted: Callable[..., Any], ways: Mapping[str, Callable[..., Any]]) -> dict[str, Any]:
    return {path: partial(counted, way) for path, way in ways.items()}


def _from_memory(way: Callable[..., Any], *asked: Any) -> Any:
    answer = way(*asked)
    if answer is not None:  # else it takes the ordinary way
        _FROM_MEMORY.inc()
    return answer


def _with_body(way: Callable[..., Any], *asked: Any) -> Any:
    begun = time.perf_counter()
    answer, status = None, "500"
    try:
        answer = way(*asked)
        status = "" if answer is None else str(answer[0])
    finally:
        if status:
            _count(status, time.perf_counter() - begun, method="POST")
    return answer


def _count(status: str, seconds: float, *, method: str) -> None:
    if method not in METHODS:  # a client may say any word
        method = "other"
    ANSWERS.labels(method, status).inc()
    SECONDS.labels(method).observe(seconds)


_FROM_MEMORY = ANSWERS.labels("GET", "200")
