"""For any bytes: declined, or read exactly as gunicorn's parser reads them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

pytest.importorskip("gunicorn", reason="NO GUNICORN: the production set is not installed")

from gunicorn.config import Config
from gunicorn.http.message import Request
from gunicorn.http.unreader import IterUnreader
from gunicorn.http.wsgi import create

from config.server import plain

CLIENT, SERVER = ("127.0.0.1", 50_000), ("127.0.0.1", 8000)


class Everything:
    """A server that would answer every path from memory."""

    def __contains__(self, path: object) -> bool:
        return True


def as_gunicorn_reads(said: bytes, method: str = "GET", body: bytes = b"") -> dict[str, Any]:
    """The environment that gunicorn's parser makes of these bytes; fails where it refuses them."""
    config = Config()
    unreader = IterUnreader([said])
    request = Request(config, unreader, CLIENT)
    _, environ = create(request, None, CLIENT, SERVER, config)
    assert request.method == method
    assert not request.should_close()
    assert request.body.read() == body
    assert not unreader.buf.getvalue()  # nothing of a next request
    return environ


def assert_read_alike(said: bytes) -> plain.PlainRequest | None:
    found = plain.read(said, Everything())
    if found is None:
        return None
    environ = as_gunicorn_reads(said)
    names = {name for name in environ if name.startswith(("HTTP_", "CONTENT_"))}
    assert (environ["PATH_INFO"], environ["QUERY_STRING"]) == (found.path, found.query)
    assert {name: environ[name] for name in names} == found.headers
    return found


def assert_post_read_alike(said: bytes) -> plain.PlainPost | None:
    found = plain.read_post(said, Everything())
    if found is None:
        return None
    environ = as_gunicorn_reads(said, "POST", found.body)
    names = {name for name in environ if name.startswith(("HTTP_", "CONTENT_"))}
    assert (environ["PATH_INFO"], environ["QUERY_STRING"]) == (found.path, "")
    assert {name: environ[name] for name in names} == found.headers
    return found


HEAD = "Host: localhost\r\nAPCA-API-KEY-ID: AK1\r\n"
TAKEN = [
    f"GET /v2/x?symbols=A,B HTTP/1.1\r\n{HEAD}\r\n",
    "GET /? HTTP/1.1\r\nHost:a\r\n\r\n",
    "GET //x//y?a=/?b HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /x?y HTTP/1.1\r\nhost:   localhost  \r\nX-A:\r\nX-B: a: b \r\n\r\n",
    "GET /x?y HTTP/1.1\r\nHost: a\r\nConnection: Keep-Alive\r\nContent-Type: text/plain\r\n\r\n",
    "GET /x?y HTTP/1.1\r\nHost: a\r\nX-Forwarded-Proto: https\r\nX-Forwarded-For: ::1\r\n\r\n",
]
DECLINED = [
    "",
    "\r\n\r\n",
    "GET /x?y HTTP/1.1\r\n\r\n",  # no header at all
    f"GET /x HTTP/1.1\r\n{HEAD}\r\n",
    f"GET /x?y HTTP/1.0\r\n{HEAD}\r\n",
    f"get /x?y HTTP/1.1\r\n{HEAD}\r\n",
    f"POST /x?y HTTP/1.1\r\n{HEAD}\r\n",
    f"GET  /x?y HTTP/1.1\r\n{HEAD}\r\n",
    f"GET /x?y#z HTTP/1.1\r\n{HEAD}\r\n",
    f"GET http://a/x?y HTTP/1.1\r\n{HEAD}\r\n",
    f"GET /x?y HTTP/1.1\n{HEAD}\r\n",
    f"GET /x?y HTTP/1.1\r\n{HEAD}",
    f"GET /x?y HTTP/1.1\r\n{HEAD}\r",
    f"GET /x?y HTTP/1.1\r\n{HEAD}\r\nGET /x?z HTTP/1.1\r\n{HEAD}\r\n",
    f"GET /x?y HTTP/1.1\r\n{HEAD}\r\nbody",
    f"GET /x?y HTTP/1.1\r\n{HEAD}Content-Length: 0\r\n\r\n",
    f"GET /x?y HTTP/1.1\r\n{HEAD}Transfer-Encoding: chunked\r\n\r\n",
    f"GET /x?y HTTP/1.1\r\n{HEAD}Expect: 100-continue\r\n\r\n",
    f"GET /x?y HTTP/1.1\r\n{HEAD}Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
    f"GET /x?y HTTP/1.1\r\n{HEAD}Connection: close\r\n\r\n",
    f"GET /x?y HTTP/1.1\r\n{HEAD}{HEAD}\r\n",
    f"GET /x?y HTTP/1.1\r\n{HEAD}X-A: b\r\nx-a: c\r\n\r\n",
    f"GET /x?y HTTP/1.1\r\n{HEAD}X_A: b\r\n\r\n",
    f"GET /x?y HTTP/1.1\r\n{HEAD}X-A : b\r\n\r\n",
    f"GET /x?y HTTP/1.1\r\n{HEAD} folded\r\n\r\n",
    f"GET /x?y HTTP/1.1\r\n{HEAD}X-A: b\x00\r\n\r\n",
    f"GET /x?y HTTP/1.1\r\n{HEAD}X-A: \xe9\r\n\r\n",
    f"GET /x?y HTTP/1.1\r\n{HEAD}X-Forwarded-Proto: https\r\nX-Forwarded-Ssl: off\r\n\r\n",
    f"GET /x?{'y' * plain.LINE_MAX} HTTP/1.1\r\n{HEAD}\r\n",
    f"GET /x?y HTTP/1.1\r\n{HEAD}X-A: {'b' * plain.HEADERS_MAX}\r\n\r\n",
    f"GET /x?y HTTP/1.1\r\n{''.join(f'X-{n}: a' + chr(13) + chr(10) for n in range(40))}\r\n",
]


@pytest.mark.parametrize("said", TAKEN)
def test_plain_requests_are_taken(said: str) -> None:
    assert assert_read_alike(said.encode("latin-1")) is not None


@pytest.mark.parametrize("said", DECLINED)
def test_all_others_are_declined(said: str) -> None:
    assert plain.read(said.encode("latin-1"), Everything()) is None


def test_the_longest_line_is_one_that_gunicorn_takes() -> None:
    longest = b"GET /x?" + b"y" * (plain.LINE_MAX - len("GET /x? HTTP/1.1")) + b" HTTP/1.1"
    assert len(longest) == plain.LINE_MAX
    assert assert_read_alike(longest + b"\r\nHost: a\r\n\r\n") is not None


def test_paths_of_others_are_declined() -> None:
    said = TAKEN[0].encode()
    assert plain.read(said, {"/v2/x"}) is not None
    assert plain.read(said, {"/v2"}) is None


NAMES = [
    *("Host", "X-A", "x-a", "X_A", "Connection", "Content-Length", "Transfer-Encoding", "Expect"),
    *("Upgrade", "X-Forwarded-Proto", "X-Forwarded-Ssl", "Content-Type", "Cookie", "Script-Name"),
    *("TE", "Trailer", "HTTP2-Settings", "Proxy-Connection"),
]
VALUES = ["", "a", " b ", "close", "keep-alive", "0", "5", "chunked", "100-continue", "https", "\t"]
ENDS = st.sampled_from(["\r\n"] * 30 + ["\n", "\r", "", "\r\n ", "\r\n\r\n", "\x00", "\x85"])
CHARACTERS = st.text(st.characters(max_codepoint=255), max_size=4)
line = st.builds(
    "{} {}{} HTTP/{}".format,
    st.sampled_from(["GET"] * 9 + ["HEAD", "POST", "", "get"]),
    st.sampled_from(["/x", "/", "//x", "/%41", "/a;b", "*", "http://h/x", "/é", "/[", "x"]),
    st.one_of(st.just("?y"), st.builds("?{}".format, CHARACTERS), CHARACTERS),
    st.sampled_from(["1.1"] * 9 + ["1.0", "2.0", "1.1 ", "1.10"]),
)
field = st.one_of(
    st.builds("{}:{}".format, st.sampled_from(NAMES), st.sampled_from(VALUES)),
    st.builds("{}:{}".format, st.sampled_from(NAMES), CHARACTERS),
    CHARACTERS,
)


@hypothesis_settings(max_examples=400, deadline=None)
@given(line, ENDS, st.lists(st.tuples(field, ENDS), max_size=5), ENDS, CHARACTERS)
@example("GET /x?y HTTP/1.1", "\r\n", [("Host:a", "\r\n")], "\r\n", "")
@example("GET /%41?y HTTP/1.1", "\r\n", [("Host:", "\r\n")], "\r\n", "")
def test_what_is_taken_is_read_as_gunicorn_reads_it(
    line: str, end: str, fields: list[tuple[str, str]], last: str, more: str
) -> None:
    said = line + end + "".join(a + b for a, b in fields) + last + (more if last != "\r\n" else "")
    assert_read_alike(said.encode("latin-1"))


@hypothesis_settings(max_examples=200, deadline=None)
@given(st.integers(0, 200), st.integers(0, 3), st.binary(max_size=3), st.sampled_from(TAKEN))
def test_a_plain_request_changed_somewhere_is_read_alike_or_declined(
    place: int, removed: int, put_in: bytes, said: str
) -> None:
    raw = said.encode("latin-1")
    assert_read_alike(raw[:place] + put_in + raw[place + removed :])


TAKEN_POSTS = [
    f"POST /v2/x HTTP/1.1\r\n{HEAD}Content-Length: 4\r\n\r\nbody",
    "POST / HTTP/1.1\r\ncontent-length:0\r\n\r\n",
    f"POST /x HTTP/1.1\r\nContent-Length: 10\r\n{HEAD}\r\n\r\n\r\n\xff\x00\r\n\r\n",
]
DECLINED_POSTS = [
    "",
    f"POST /x HTTP/1.1\r\n{HEAD}\r\nbody",
    f"POST /x?y HTTP/1.1\r\n{HEAD}Content-Length: 4\r\n\r\nbody",
    f"POST /%41 HTTP/1.1\r\n{HEAD}Content-Length: 4\r\n\r\nbody",
    f"POST /x HTTP/1.0\r\n{HEAD}Content-Length: 4\r\n\r\nbody",
    f"PUT /x HTTP/1.1\r\n{HEAD}Content-Length: 4\r\n\r\nbody",
    f"POST /x HTTP/1.1\r\n{HEAD}Content-Length: 4\r\n\r\nbod",
    f"POST /x HTTP/1.1\r\n{HEAD}Content-Length: 4\r\n\r\nbody!",
    f"POST /x HTTP/1.1\r\n{HEAD}Content-Length: 04\r\n\r\nbody",
    f"POST /x HTTP/1.1\r\n{HEAD}Content-Length: +4\r\n\r\nbody",
    f"POST /x HTTP/1.1\r\n{HEAD}Content-Length: 4\r\nContent-Length: 4\r\n\r\nbody",
    f"POST /x HTTP/1.1\r\n{HEAD}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\nbody",
    f"POST /x HTTP/1.1\r\n{HEAD}Content-Length: 4\r\nExpect: 100-continue\r\n\r\nbody",
    f"POST /x HTTP/1.1\r\n{HEAD}Content-Length: 4\r\nConnection: close\r\n\r\nbody",
    f"POST /x HTTP/1.1\r\n{HEAD}Content-Length: 4\r\n",
    f"POST /x HTTP/1.1\r\nX-A: {'b' * plain.HEADERS_MAX}\r\nContent-Length: 4\r\n\r\nbody",
]


@pytest.mark.parametrize("said", TAKEN_POSTS)
def test_plain_posts_are_taken_with_their_body(said: str) -> None:
    found = assert_post_read_alike(said.encode("latin-1"))
    assert found is not None
    assert plain.read(said.encode("latin-1"), Everything()) is None
    assert plain.read_post(said.encode("latin-1"), {"/other"}) is None


@pytest.mark.parametrize("said", [*DECLINED_POSTS, *TAKEN])
def test_all_other_posts_are_declined(said: str) -> None:
    assert plain.read_post(said.encode("latin-1"), Everything()) is None


@hypothesis_settings(max_examples=200, deadline=None)
@given(st.integers(0, 120), st.integers(0, 3), st.binary(max_size=3), st.sampled_from(TAKEN_POSTS))
def test_a_plain_post_changed_somewhere_is_read_alike_or_declined(
    place: int, removed: int, put_in: bytes, said: str
) -> None:
    raw = said.encode("latin-1")
    assert_post_read_alike(raw[:place] + put_in + raw[place + removed :])
