"""Reads the requests that need no parser: plain ones, whole in what one read of a socket brought.

Plain is `GET /path?query HTTP/1.1` with few and short headers, each of them once, and with nothing
after it; or `POST /path HTTP/1.1` with such headers and, after them, just as many bytes as they
say. All else is declined and left to gunicorn's parser. What is taken is read exactly as that
parser reads it: a property test compares the two, byte string by byte string.
"""

from __future__ import annotations

import re
from collections.abc import Container, Mapping
from functools import lru_cache
from typing import NamedTuple

READ_MAX = 8192  # of one read; gunicorn's own reads are as long
LINE_MAX = 4094  # gunicorn's own default; what is longer is its business
HEADERS_MAX = 2048  # bytes; a program's headers are short
FIELDS_MAX = 32

# Printable ASCII only, no fragment; names without the underscore that WSGI takes for a dash.
LINE = re.compile(rb"GET (/[!-\"$&->@-~]*)\?([!-\"$-~]*) HTTP/1\.1")
POST_LINE = re.compile(rb"POST (/[!-\"$&->@-~]*) HTTP/1\.1")
HEADERS = re.compile(rb"(?:[A-Za-z0-9-]+:[ -~]*\r\n)+\r\n")

# They announce a body in pieces, ask for another protocol, or can contradict X-Forwarded-Proto.
NOT_PLAIN = frozenset(
    {
        *("HTTP_TRANSFER_ENCODING", "HTTP_EXPECT", "HTTP_UPGRADE"),
        *("HTTP_X_FORWARDED_PROTOCOL", "HTTP_X_FORWARDED_SSL"),
    }
)


class PlainRequest(NamedTuple):
    """A GET without a body, on a connection that stays open after its answer."""

    path: str
    query: str
    headers: Mapping[str, str]  # by their names in a WSGI environment


class PlainPost(NamedTuple):
    """A POST that came with its whole body, on a connection that stays open after its answer."""

    path: str
    headers: Mapping[str, str]  # by their names in a WSGI environment
    body: bytes


def read(said: bytes, paths: Container[str]) -> PlainRequest | None:
    """The request that these bytes are, if it is plain and for one of the paths."""
    line, _, headers = said.partition(b"\r\n")
    found = LINE.fullmatch(line)
    if found is None or len(line) > LINE_MAX or len(headers) > HEADERS_MAX:
        return None
    path = found[1].decode()
    if path not in paths:
        return None
    named = read_headers(headers)
    if named is None or "CONTENT_LENGTH" in named:
        return None
    return PlainRequest(path, found[2].decode(), named)


def read_post(said: bytes, paths: Container[str]) -> PlainPost | None:
    """The POST that these bytes are, if it is plain, for one of the paths and here as a whole."""
    line, _, rest = said.partition(b"\r\n")
    found = POST_LINE.fullmatch(line)
    if found is None or len(line) > LINE_MAX or found[1].decode() not in paths:
        return None
    headers, _, body = rest.partition(b"\r\n\r\n")
    if len(headers) > HEADERS_MAX:
        return None
    named = read_headers(headers + b"\r\n\r\n")
    if named is None or named.get("CONTENT_LENGTH") != str(len(body)):
        return None
    return PlainPost(found[1].decode(), named, body)


@lru_cache(maxsize=1024)  # a client says the same ones with every request
def read_headers(said: bytes) -> Mapping[str, str] | None:
    """Header lines and the empty line after them; None where they are not plain."""
    if not HEADERS.fullmatch(said):
        return None
    lines = said.decode()[:-4].split("\r\n")
    headers = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[_environ_name(name)] = value.strip(" ")
    if len(headers) < len(lines) or len(lines) > FIELDS_MAX:
        return None
    if not NOT_PLAIN.isdisjoint(headers):
        return None
    if headers.get("HTTP_CONNECTION", "keep-alive").lower() != "keep-alive":
        return None
    return headers


def _environ_name(name: str) -> str:
    name = name.upper().replace("-", "_")
    return name if name in ("CONTENT_TYPE", "CONTENT_LENGTH") else "HTTP_" + name
