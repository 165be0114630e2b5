"""Every error that the API may answer with, for its documentation page: what Openbell can say."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from events.errors import OpenbellError

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
    found: dict[tuple[int, int], list[Reason]] = {}
    for kind in sorted(_kinds(OpenbellError), key=lambda kind: kind.__name__):
        found.setdefault((kind.http_status, kind.code), []).append(_reason(kind))
    return [Listed(*key, reasons) for key, reasons in sorted(found.items())]


def _kinds(kind: type[OpenbellError]) -> Iterator[type[OpenbellError]]:
    """The error and what it is the root of; what tests add to the tree is left out."""
    if not kind.__module__.startswith("tests."):
        yield kind
    for each in kind.__subclasses__():
        yield from _kinds(each)


def _reason(kind: type[OpenbellError]) -> Reason:
    said = (kind.__doc__ or "").partition("\n\n")[0] or vars(kind).get("message", "")
    return Reason(WORD.sub(" ", kind.__name__).lower(), " ".join(said.replace("`", "").split()))
