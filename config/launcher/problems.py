"""What may go wrong at a start, in plain sentences."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError

from events.errors import OpenbellError


class Problem(Exception):
    """An expected problem: its message is one plain sentence that says what to do."""


@contextmanager
def in_plain_sentences() -> Iterator[None]:
    """Turn what is expected to go wrong at a start into Problem; bugs keep their traceback."""
    try:
        yield
    except ImproperlyConfigured as error:
        raise Problem(str(error)) from error
    except OpenbellError as error:
        sentence = error.message[:1].upper() + error.message[1:]
        raise Problem(sentence.rstrip(".") + ".") from error
    except DatabaseError as error:
        raise Problem(f"The database cannot be used: {error}.") from error
