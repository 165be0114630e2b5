"""What the OpenAPI document says of every operation: its subject and the shape of its errors."""

from __future__ import annotations

import re
from typing import Any

from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import get_doc

# The first that matches a path names its group; the groups are listed in this order.
SUBJECTS = (
    (re.compile(r"^/v2/account"), "Account"),
    (re.compile(r"^/v2/orders"), "Orders"),
    (re.compile(r"^/v2/positions"), "Positions"),
    (re.compile(r"^/v2/watchlists"), "Watchlists"),
    (re.compile(r"^/v2/stocks"), "Market data"),
    (re.compile(r"^/v2/assets"), "Assets"),
    (re.compile(r"^/v2/(clock|calendar)"), "Clock and calendar"),
    (re.compile(r"^/public/"), "Public"),
    (re.compile(r"^/v2/events"), "Events"),
    (re.compile(r"^/api/keys"), "API keys"),
    (re.compile(r"^/api/(accounts|transfers|session)"), "Accounts of a user"),
    (re.compile(r"^/api/market"), "Market control"),
)
OTHER = "More"
METHODS = frozenset({"get", "post", "put", "patch", "delete"})

ERROR = {
    "type": "object",
    "description": "Every error. Some carry more fields, strings that explain the refusal.",
    "properties": {
        "code": {"type": "integer", "description": "stable, for programs"},
        "message": {"type": "string", "description": "for people"},
    },
    "required": ["code", "message"],
    "additionalProperties": {"type": "string"},
}
ERROR_ANSWER = {
    "description": "any status of 400 and above",
    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
}


# What `access.idempotency` reads, for every write.
WRITES = METHODS - {"get"}
ONCE_ONLY = {
    "in": "header",
    "name": "Idempotency-Key",
    "description": "any text of your own, good for 24 hours: the same request sent again with it "
    "is not carried out again, and is answered as before, with `Idempotent-Replayed: true`",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
}


class Schema(AutoSchema):
    """drf-spectacular's reading of a view, without the view's own docstring: that is for us."""

    def get_description(self) -> str:  # type: ignore[override]  # as its parent does
        return get_doc(getattr(self.view, self.method.lower(), None))


def complete(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """drf-spectacular's last hook: group the operations and tell of their errors."""
    result["components"].setdefault("schemas", {})["Error"] = ERROR
    found = set()
    for path, item in result["paths"].items():
        for method in METHODS & item.keys():
            subject = _subject(path)
            found.add(subject)
            item[method]["tags"] = [subject]
            item[method]["responses"]["default"] = ERROR_ANSWER
            if method in WRITES:
                item[method].setdefault("parameters", []).append(ONCE_ONLY)
    ordered = [subject for _pattern, subject in SUBJECTS] + [OTHER]
    result["tags"] = [{"name": subject} for subject in ordered if subject in found]
    return result


def _subject(path: str) -> str:
    return next((subject for pattern, subject in SUBJECTS if pattern.match(path)), OTHER)
