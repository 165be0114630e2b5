"""The environment, read with types.

A value that cannot be read stops the start with `ImproperlyConfigured`, and the message names the
variable and shows a right example. Empty counts as not set, as `FOO=` in an env file means.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import date, time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import environ
from django.core.exceptions import ImproperlyConfigured

CHECKOUT = Path(__file__).resolve().parent.parent
YES = frozenset({"1", "true", "yes", "on"})
NO = frozenset({"0", "false", "no", "off"})
MYSQL_EXAMPLE = "mysql://openbell:secret@db.example.com:3306/openbell"


def read_env_file() -> None:
    """Add what `.env` says, or what OPENBELL_ENV_FILE names; the environment itself wins."""
    file = text("OPENBELL_ENV_FILE", str(CHECKOUT / ".env"))
    if os.path.isfile(file):
        environ.Env.read_env(file)


def home() -> Path:
    """OPENBELL_HOME, the folder that holds all state."""
    return Path(text("OPENBELL_HOME", str(CHECKOUT / ".openbell"))).expanduser().resolve()


def text(name: str, default: str = "") -> str:
    return os.environ.get(name, "").strip() or default


def flag(name: str, *, default: bool) -> bool:
    value = text(name).lower()
    if not value:
        return default
    if value not in YES | NO:
        raise _malformed(name, "is neither true nor false", f"{name}=true")
    return value in YES


def number(name: str, *, default: float, example: str) -> float:
    """A number above zero."""
    try:
        value = float(text(name) or default)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise _malformed(name, "is not a number above zero", f"{name}={example}")
    return value


def whole(name: str, *, default: int, least: int = 0) -> int:
    try:
        value = int(text(name) or default)
    except ValueError:
        raise _malformed(name, "is not a whole number", f"{name}={default}") from None
    if value < least:
        raise _malformed(name, f"is below {least}", f"{name}={default}")
    return value


def day(name: str) -> str:
    """A date such as 2013-10-07, as it was written; "" when not set."""
    value = text(name)
    try:
        return date.fromisoformat(value).isoformat() if value else ""
    except ValueError:
        raise _malformed(name, "is not a date", f"{name}=2013-10-07") from None


def time_of_day(name: str, *, default: str) -> time:
    """A time such as 09:29."""
    try:
        return time.fromisoformat(text(name, default))
    except ValueError:
        raise _malformed(name, "is not a time of day", f"{name}={default}") from None


def one_of(name: str, choices: Sequence[str]) -> str:
    """One of the words; the first is the default."""
    value = text(name, choices[0])
    if value not in choices:
        raise _malformed(name, "is none of " + ", ".join(choices), f"{name}={choices[0]}")
    return value


def names(name: str, default: Sequence[str] = ()) -> list[str]:
    """A comma-separated list."""
    return [item.strip() for item in text(name).split(",") if item.strip()] or list(default)


def mysql(name: str) -> dict[str, Any] | None:
    """A MySQL or MariaDB address as Django's NAME, USER, PASSWORD, HOST, PORT; None if not set."""
    url = text(name)
    return _mysql(name, url, f"{name}={MYSQL_EXAMPLE}") if url else None


def mysql_list(name: str) -> list[dict[str, Any]]:
    """Such addresses, separated by commas."""
    example = f"{name}={MYSQL_EXAMPLE},{MYSQL_EXAMPLE.replace('db.', 'db2.')}"
    return [_mysql(name, url, example) for url in names(name)]


def _mysql(name: str, url: str, example: str) -> dict[str, Any]:
    _check_url(name, url, schemes=("mysql",), example=example)
    try:
        parsed = environ.Env.db_url_config(url)
    except (ValueError, KeyError) as error:
        raise _malformed(name, f"cannot be read ({error})", example) from error
    if not parsed["NAME"] or not parsed["HOST"]:
        raise _malformed(name, "names no database or no host", example)
    return {key: parsed[key] for key in ("NAME", "USER", "PASSWORD", "HOST", "PORT")}


def redis(name: str, default: str = "") -> str:
    """A Redis address, unchanged; "" when not set."""
    url = text(name, default)
    if url:
        example = f"{name}=redis://cache.example.com:6379/0"
        _check_url(name, url, schemes=("redis", "rediss", "unix"), example=example)
    return url


def _check_url(name: str, url: str, *, schemes: Sequence[str], example: str) -> None:
    """Refuse what is no address at all; the value itself is not shown, it may hold a password."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise _malformed(name, f"is not an address ({error})", example) from error
    if parts.scheme not in schemes or not (parts.hostname or parts.scheme == "unix"):
        kinds = " or ".join(f"{scheme}://" for scheme in schemes)
        raise _malformed(name, f"is not an address that starts with {kinds}", example)


def _malformed(name: str, problem: str, example: str) -> ImproperlyConfigured:
    return ImproperlyConfigured(f"The environment variable {name} {problem}. Example: {example}")
