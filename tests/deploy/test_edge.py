"""nginx in front of a real web process: what it keeps, for how long, and what it never keeps."""

from __future__ import annotations

import http.client
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from deploy.local import edge as edge_configuration
from tests.config.caching.test_policy import PUBLIC, routes
from tests.conftest import ROOT
from tests.running import free_port

pytest.importorskip("gunicorn", reason="NO GUNICORN: the production set is not installed")

GUNICORN = [sys.executable, "-m", "gunicorn", "-c", "python:config.server.gunicorn_settings"]
READY_SECONDS_MAX = 60.0
STOP_SECONDS_MAX = 60.0
CROWD = 50
QUOTES_KEPT = 6.2  # s-maxage is 5; nginx counts whole seconds, the last one included
MARKET = "/public/market"
IN_DEMAND, FORGOTTEN, LOST, NEVER_THERE = (
    f"/public/quotes?symbols={symbol}" for symbol in ("AAPL", "IBM", "NFLX", "AMZN")
)


class Upstream:
    """Stands between nginx and the web process, and counts what comes through."""

    def __init__(self, port: int) -> None:
        self.port = free_port()
        self.asked: Counter[str] = Counter()
        self.delay_seconds = 0.0
        self._web = port
        self._listener: socket.socket | None = None
        self._connections: list[socket.socket] = []
        self.open()

    def open(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=256)
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def close(self) -> None:
        """From now on nobody is let through, as if the web process were gone."""
        assert self._listener is not None
        _end(self._listener)
        self._listener.close()
        for connection in self._connections:
            _end(connection)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            web = socket.create_connection(("127.0.0.1", self._web))
            self._connections += (client, web)
            for job in (self._ask, self._answer):
                threading.Thread(target=job, args=(client, web), daemon=True).start()

    def _ask(self, client: socket.socket, web: socket.socket) -> None:
        while said := _received(client):
            for path in re.findall(rb"^[A-Z]+ (\S+) HTTP/1\.1\r$", said, re.MULTILINE):
                self.asked[path.decode()] += 1
            time.sleep(self.delay_seconds)
            web.sendall(said)
        _end(web)

    def _answer(self, client: socket.socket, web: socket.socket) -> None:
        while said := _received(web):
            client.sendall(said)
        _end(client)


def _received(connection: socket.socket) -> bytes:
    try:
        return connection.recv(65_536)
    except OSError:
        return b""


def _end(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return


class Edge:
    """nginx, a counting upstream and gunicorn on a database of their own."""

    def __init__(self, home: Path) -> None:
        self.port = free_port()
        self._processes: list[subprocess.Popen[bytes]] = []
        web_port = free_port()
        told = {
            **{name: value for name, value in os.environ.items() if not name.endswith("_URL")},
            "OPENBELL_HOME": str(home),
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "SECRET_KEY": "only-for-this-test",
        }
        prepare = [sys.executable, "-m", "config.launcher.prepare", f"http://127.0.0.1:{self.port}"]
        subprocess.run(prepare, cwd=ROOT, env=told, check=True, stdout=subprocess.DEVNULL)
        gunicorn = [
            sys.executable,
            "-m",
            "gunicorn",
            "-c",
            "python:config.server.gunicorn_settings",
        ]
        self._start(gunicorn, told | {"PORT": str(web_port)})
        wait_for_port(web_port)
        self.upstream = Upstream(web_port)
        state = home / "nginx"
        state.mkdir()
        (state / "nginx.conf").write_text(
            edge_configuration.configuration(
                state,
                listen=f"127.0.0.1:{self.port}",
                web_ports=[self.upstream.port],
                stream_ports=[self.upstream.port],
            )
        )
        nginx = shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin:/usr/local/sbin")
        assert nginx is not None
        self._start(
            [nginx, "-e", "stderr", "-p", str(state), "-c", str(state / "nginx.conf")], told
        )
        wait_for_port(self.port)
        self.known = credentials(home / "demo.env")

    def _start(self, command: list[str], told: dict[str, str]) -> None:
        self._processes.append(subprocess.Popen(command, cwd=ROOT, env=told))

    def stop(self) -> None:
        for process in reversed(self._processes):
            process.terminate()
        for process in self._processes:
            process.wait(STOP_SECONDS_MAX)

    def ask(self, path: str, **headers: str) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request("GET", path, headers=headers)
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def ask_at_once(self, path: str) -> list[Answer]:
        """The answers that a crowd gets."""
        with ThreadPoolExecutor(CROWD) as crowd:
            return list(crowd.map(self.ask, [path] * CROWD))


class Answer:
    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        self.body = response.read()

    @property
    def cached(self) -> str | None:
        """HIT, MISS, …; None where nothing is ever kept."""
        return self.headers.get("x-cache")

    @property
    def is_private(self) -> bool:
        return {"private", "no-store"} <= set(self.headers["cache-control"].split(", "))


def credentials(file: Path) -> dict[str, str]:
    """The headers of the demo user's programs, and a cookie of nobody's."""
    lines = dict(line.split("=", 1) for line in file.read_text().splitlines())
    return {
        "APCA-API-KEY-ID": lines["APCA_API_KEY_ID"],
        "APCA-API-SECRET-KEY": lines["APCA_API_SECRET_KEY"],
        "Cookie": "sessionid=stale; csrftoken=x",
    }


def wait_for_port(port: int) -> None:
    deadline = time.monotonic() + READY_SECONDS_MAX
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            assert time.monotonic() < deadline, f"nobody listens on {port}"
            time.sleep(0.05)


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    path = os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/usr/local/sbin"])
    if not shutil.which("nginx", path=path):
        pytest.skip("NO EDGE: nginx is not installed")
    edge = Edge(tmp_path_factory.mktemp("edge"))
    try:
        yield edge
    finally:
        edge.stop()


def test_only_public_pages_are_ever_kept(edge: Edge) -> None:
    """Every route, asked twice by somebody with a key and a cookie."""
    for path in dict.fromkeys([*routes(), "/public/nothing", "/public/quotes?symbols=wrong"]):
        asked = path + "?symbols=MSFT" if path == "/public/quotes" else path
        before = edge.upstream.asked[asked]
        first, second = edge.ask(asked, **edge.known), edge.ask(asked, **edge.known)
        came_through = edge.upstream.asked[asked] - before

        if path in PUBLIC:
            assert first.status == 200, (path, first.body)
            assert (first.cached, second.cached, came_through) == ("MISS", "HIT", 1), path
            assert first.headers["cache-control"] == PUBLIC[path]
            assert second.body == first.body
        else:
            assert second.cached == ("MISS" if path.startswith("/public/") else None), path
            assert came_through == 2, path
            assert (first.is_private, second.is_private) == (True, True), path


def test_nothing_of_a_caller_is_below_public(edge: Edge) -> None:
    anybody, known = edge.ask(MARKET), edge.ask(MARKET, **edge.known)
    for answer in (anybody, known, edge.ask("/public/nothing", **edge.known)):
        named = answer.headers.keys()
        assert "set-cookie" not in named
        assert not [name for name in named if name.startswith(("x-ratelimit", "apca"))]
        assert "cookie" not in answer.headers.get("vary", "").lower()
    assert anybody.body == known.body


@pytest.fixture(scope="module")
def ended(edge: Edge) -> Edge:
    """Display quotes that were asked for have ended; until then they were kept."""
    for path in (IN_DEMAND, FORGOTTEN, LOST, MARKET):
        edge.ask(path)
    begun = time.monotonic()
    for second in (1, 2, 3):
        time.sleep(max(0.0, begun + second - time.monotonic()))
        assert [edge.ask(path).cached for path in (IN_DEMAND, MARKET)] == ["HIT", "HIT"]
    time.sleep(begun + QUOTES_KEPT - time.monotonic())
    return edge


def test_a_crowd_sends_one_request_for_what_has_ended(ended: Edge) -> None:
    """In demand, forgotten or never there: one of fifty goes through. The list is kept longer."""
    assert ended.ask(MARKET).cached == "HIT"
    ended.upstream.delay_seconds = 0.3
    try:
        for path in (IN_DEMAND, FORGOTTEN, NEVER_THERE):
            before = ended.upstream.asked[path]
            answers = ended.ask_at_once(path)
            assert {answer.status for answer in answers} == {200}
            assert ended.upstream.asked[path] - before == 1, path
            assert ended.ask(path).cached == "HIT"
    finally:
        ended.upstream.delay_seconds = 0.0


def test_nothing_old_is_served_when_nobody_renews_it(ended: Edge) -> None:
    """The old one is for who asks while another renews it, not for want of a web process."""
    ended.upstream.close()
    try:
        kept, gone = ended.ask(IN_DEMAND), ended.ask(LOST)
    finally:
        ended.upstream.open()
    assert kept.cached == "HIT"
    assert gone.status == 503
    assert gone.headers["retry-after"] == "1"
    assert gone.is_private


@pytest.mark.long
def test_a_list_is_kept_for_a_minute(edge: Edge) -> None:
    edge.ask(MARKET)
    begun, ended = time.monotonic(), None
    while ended is None:
        time.sleep(1)
        if edge.ask(MARKET).cached != "HIT":
            ended = time.monotonic() - begun
    assert ended < 62
