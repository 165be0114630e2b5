"""The environment, read with types.

A value that cannot be read stops the start with `ImproperlyConfigured`, and the message names the
variable and shows a right example. Empty counts as not set, as `FOO=` in an env file means.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from datetime import date, time
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

import environ
from django.core.exceptions import ImproperlyConfigured

CHECKOUT = Path(__file__).resolve().parent.parent
YES = frozenset({"1", "true", "yes", "on"})
NO = frozenset({"0", "false", "no", "off"})
MYSQL_EXAMPLE = "mysql://openbell:secret@db.example.com:3306/openbell"
MYSQL_PORT = 3306
REDIS_EXAMPLE = "redis://cache.example.com:6379/0"
STREAM_EXAMPLE = "ws://openbell.example.com:8000/v2/iex"
TLS = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs", "ssl_check_hostname")
REDIS_PARAMETERS: dict[str, tuple[str, ...]] = {"redis": (), "rediss": TLS, "unix": ("db",)}

Address = dict[str, Any]  # of a database server, in Django's words


def read_env_file() -> None:
    """Add what `.env` says, or what OPENBELL_ENV_FILE names; the environment itself wins."""
    file = text("OPENBELL_ENV_FILE", str(CHECKOUT / ".env"))
    if os.path.isfile(file):
        environ.Env.read_env(file)


def home() -> Path:
    """OPENBELL_HOME, the folder that holds all state."""
    return Path(text("OPENBELL_HOME", str(CHECKOUT / ".openbell"))).expanduser().resolve()


def folder(name: str, default: Path) -> Path:
    """A folder, which need not be there. What is there and is none stops the start."""
    path = Path(text(name, str(default))).expanduser().resolve()
    if path.exists() and not path.is_dir():
        raise _malformed(name, "names something that is not a folder", f"{name}={default}")
    return path


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


def whole(name: str, *, default: int, least: int = 0, most: int | None = None) -> int:
    try:
        value = int(text(name) or default)
    except ValueError:
        raise _malformed(name, "is not a whole number", f"{name}={default}") from None
    if value < least:
        raise _malformed(name, f"is below {least}", f"{name}={default}")
    if most is not None and value > most:
        raise _malformed(name, f"is above {most}", f"{name}={default}")
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


def networks(name: str) -> list[IPv4Network | IPv6Network]:
    """Addresses and networks, separated by commas."""
    try:
        return [ip_network(each) for each in names(name)]
    except ValueError:
        example = f"{name}=127.0.0.1,10.0.0.0/8"
        raise _malformed(name, "names something that is no network", example) from None


def mysql(name: str) -> Address | None:
    """A MySQL or MariaDB address as Django's NAME, USER, PASSWORD, HOST, PORT; None if not set."""
    url = text(name)
    return _mysql(name, url, f"{name}={MYSQL_EXAMPLE}") if url else None


def mysql_list(name: str) -> list[Address]:
    """Such addresses, separated by commas."""
    example = f"{name}={MYSQL_EXAMPLE},{MYSQL_EXAMPLE.replace('db.', 'db2.')}"
    return [_mysql(name, url, example) for url in names(name)]


def check_each_server_once(primary: Address, replicas: Sequence[Address]) -> None:
    """Refuse a replica that is named twice, or that is the primary."""
    example = f"REPLICA_URLS={MYSQL_EXAMPLE.replace('db.', 'db2.')}"
    seen: set[str] = set()
    for address in replicas:
        server = _server(address)
        if server == _server(primary):
            raise _malformed("REPLICA_URLS", f"names {server}, which is the primary", example)
        if server in seen:
            raise _malformed("REPLICA_URLS", f"names {server} twice", example)
        seen.add(server)


def _server(address: Address) -> str:
    return f"{address['HOST']}:{address['PORT']}"


def redis(name: str, default: str = "") -> str:
    """A Redis address, unchanged; "" when not set."""
    url = text(name, default)
    if not url:
        return url
    example = f"{name}={REDIS_EXAMPLE}"
    parts = _taken_apart(name, url, ("redis", "rediss", "unix"), example)
    if parts.scheme == "unix":
        if not parts.path.strip("/"):
            raise _malformed(name, "names no socket after unix://", example)
    elif not re.fullmatch(r"/?|/[0-9]+", parts.path):
        raise _malformed(name, "has something else than a number after its host", example)
    _check_redis_parameters(name, parts, example)
    return url


def stream(name: str) -> str:
    """The address of a data stream, unchanged; "" when not set."""
    url = text(name)
    if url:
        parts = _taken_apart(name, url, ("ws", "wss"), f"{name}={STREAM_EXAMPLE}")
        if parts.path.strip("/") == "":
            raise _malformed(name, "names no stream after its host", f"{name}={STREAM_EXAMPLE}")
    return url


def host_of(url: str) -> str:
    """Host and port of an address."""
    return urlsplit(url).netloc.rpartition("@")[2]


def check_upstream(url: str, key_id: str, secret: str, symbols: Sequence[str]) -> None:
    """Refuse FEED=alpaca without what it needs."""
    example = f"FEED=alpaca UPSTREAM_URL={STREAM_EXAMPLE} UPSTREAM_KEY_ID=… UPSTREAM_SECRET_KEY=…"
    if not (url and key_id and secret):
        raise ImproperlyConfigured(
            "FEED=alpaca is fed by another server and needs to know which, and a key for it. "
            f"Example: {example}"
        )
    if not symbols and (urlsplit(url).hostname or "").endswith(".alpaca.markets"):
        raise ImproperlyConfigured(
            "FEED=alpaca needs to know what to ask Alpaca for. "
            f"Example: {example} SYMBOLS=AAPL,MSFT"
        )


def _check_redis_parameters(name: str, parts: SplitResult, example: str) -> None:
    known = REDIS_PARAMETERS[parts.scheme]
    for parameter, value in parse_qsl(parts.query, keep_blank_values=True):
        if parameter not in known:
            may = "may have " + ", ".join(known) if known else "has none"
            raise _malformed(name, f"has a parameter after “?”; {parts.scheme}:// {may}", example)
        if parameter == "db" and not re.fullmatch("[0-9]+", value):
            raise _malformed(name, "has a db that is not a number", example)


def _mysql(name: str, url: str, example: str) -> Address:
    parts = _taken_apart(name, url, ("mysql",), example)
    if parts.query:
        raise _malformed(name, "has parameters after a “?”; it takes none", example)
    database = unquote(parts.path[1:])
    if not database:
        raise _malformed(name, "names no database after its host", example)
    if "/" in database:
        raise _malformed(name, "has more than a database after its host", example)
    if not parts.username:
        raise _malformed(name, "names no user before its host", example)
    return {
        "NAME": database,
        "USER": unquote(parts.username),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": parts.hostname,
        "PORT": parts.port or MYSQL_PORT,
    }


def _taken_apart(name: str, url: str, schemes: Sequence[str], example: str) -> SplitResult:
    """The parts of an address. What is wrong is not shown itself, it may hold a password."""
    if re.search(r"\s", url):
        raise _malformed(name, "has a space in it; addresses are separated by commas", example)
    kinds = " or ".join(f"{scheme}://" for scheme in schemes)
    try:
        parts = urlsplit(url)
    except ValueError:
        raise _malformed(name, "cannot be read as an address", example) from None
    if parts.scheme not in schemes or not (parts.hostname or parts.scheme == "unix"):
        raise _malformed(name, f"is not an address that starts with {kinds} and a host", example)
    if "#" in url:
        raise _malformed(name, "has a “#” in it; in a password that is %23", example)
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port == 0:
        problem = "has something after its host that is no port; in a password “/” is %2F"
        raise _malformed(name, problem, example)
    return parts


def _malformed(name: str, problem: str, example: str) -> ImproperlyConfigured:
    return ImproperlyConfigured(f"The environment variable {name} {problem}. Example: {example}")
