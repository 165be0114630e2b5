"""Every error that the API may answer with, for its documentation page: what Openbell can say, and
what is said of any request, whatever it is for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from django.conf import settings

from events.errors import OpenbellError
from quotes.feeds.base import FeedError
from quotes.market import AnotherMarket

# They keep a process from starting, before it answers anybody.
OF_PROCESSES = (FeedError, AnotherMarket)
WORD = re.compile(r"(?<=[a-z])(?=[A-Z])")


class Reason(NamedTuple):
    """One kind of error, in words."""

    name: str
    text: str  # "" where the name says it all


class Listed(NamedTuple):
    """A code of the error body, and what it may be for."""

    status: int
    code: int
    reasons: list[Reason]


def listed() -> list[Listed]:
    """All codes by status, those that programs tell apart; each with its reasons."""
    found = {key: [reason] for key, reason in _of_any_request().items()}
    for kind in sorted(_kinds(OpenbellError), key=lambda kind: kind.__name__):
        found.setdefault((kind.http_status, kind.code), []).append(_reason(kind))
    return [Listed(*key, reasons) for key, reasons in sorted(found.items())]


def _of_any_request() -> dict[tuple[int, int], Reason]:
    """What is answered before anybody looks at what a request is for, by status and code."""
    largest = f"more than {settings.DATA_UPLOAD_MAX_MEMORY_SIZE // 1024} KB"
    return {
        (400, 40010001): Reason("malformed request", "as a body that is no JSON object"),
        (401, 40110000): Reason("not authorized", "no key or login session, or one that is over"),
        (403, 40310000): Reason("csrf", "a page's request without the token of its session"),
        (404, 40410000): Reason("endpoint not found", ""),
        (405, 40510000): Reason("method not allowed", ""),
        (413, 41310000): Reason("request body too large", largest),
        (500, 50010000): Reason("internal server error", "a bug of ours, which is logged"),
    }


def _kinds(kind: type[OpenbellError]) -> Iterator[type[OpenbellError]]:
    """The error and what it is the root of; what tests add to the tree is left out, and the root of
    all, which is raised by nobody."""
    if kind in OF_PROCESSES:
        return
    if kind is not OpenbellError and not kind.__module__.startswith("tests."):
        yield kind
    for each in kind.__subclasses__():
        yield from _kinds(each)


def _reason(kind: type[OpenbellError]) -> Reason:
    said = (kind.__doc__ or "").partition("\n\n")[0] or vars(kind).get("message", "")
    return Reason(WORD.sub(" ", kind.__name__).lower(), " ".join(said.replace("`", "").split()))
