"""Refusals that Openbell can explain: the root of every app's own error tree.

    OpenbellError
    ├── Refused            the request is understood and declined; repeating it changes nothing
    │   ├── NotFound
    │   └── Invalid
    ├── Unavailable        we could not decide just now; the same request may pass later
    └── OutcomeUnknown     it may be stored or not; only a look tells

A class carries a stable `code` (the wire contract's number), an `http_status` and a sentence.
Keyword arguments become fields of the error body, as strings, so that a program can act on the
numbers that explain a refusal.
"""

from __future__ import annotations


class OpenbellError(Exception):
    """An error with a code; `extras` are the numbers that explain it."""

    code = 50010000
    http_status = 500
    message = "internal server error"

    def __init__(self, message: str | None = None, **extras: object) -> None:
        self.message = message or self.message
        self.extras = {name: str(value) for name, value in extras.items()}
        super().__init__(self.message)

    def body(self) -> dict[str, object]:
        """The error body of the wire contract."""
        return {"code": self.code, "message": self.message, **self.extras}


class Refused(OpenbellError):
    """Well-formed but not allowed."""

    code = 42210000
    http_status = 422
    message = "request refused"


class Invalid(Refused):
    """Malformed or missing input."""

    code = 40010001
    http_status = 422
    message = "invalid request"


class NotFound(Refused):
    """No such thing, or not yours."""

    code = 40410000
    http_status = 404
    message = "not found"


class Forbidden(Refused):
    """Understood, and not permitted for this account now."""

    code = 40310000
    http_status = 403
    message = "forbidden"


class Unavailable(OpenbellError):
    """Could not be decided now; nothing was stored."""

    code = 50310000
    http_status = 503
    message = "service unavailable, nothing was stored"


class OutcomeUnknown(OpenbellError):
    """The database was lost at the very end, and could not be asked what became of it."""

    code = 50310000
    http_status = 503
    message = "service unavailable, it is not known whether this was stored"
