"""nginx in front of a real web process, and how many requests come through it."""

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
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from deploy.local import edge as edge_configuration
from tests.conftest import ROOT
from tests.running import free_port, wait_for_port

GUNICORN = [sys.executable, "-m", "gunicorn", "-c", "python:config.server.gunicorn_settings"]
STOP_SECONDS_MAX = 60.0
CROWD = 50


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
    """nginx, a counting upstream and gunicorn, on the database in `home`; made where it is not.

    `known` are the headers of the demo user's programs, and a cookie of nobody's.
    """

    def __init__(self, home: Path, *, behind_tls: bool = False) -> None:
        self.home = home
        self.port = free_port()
        self._processes: list[subprocess.Popen[bytes]] = []
        web_port = free_port()
        told = {
            **{name: value for name, value in os.environ.items() if not name.endswith("_URL")},
            "OPENBELL_HOME": str(home),
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "SECRET_KEY": "only-for-this-test",
            "HTTPS": str(behind_tls),
            "LOGIN_FAILURES_MAX": "2",
            "LOGIN_WINDOW_SECONDS": str(10**10),  # which ends in the year 2286, not amid a test
        }
        prepare = [sys.executable, "-m", "config.launcher.prepare", f"http://127.0.0.1:{self.port}"]
        if not (home / "demo.env").exists():  # another one's home
            subprocess.run(prepare, cwd=ROOT, env=told, check=True, stdout=subprocess.DEVNULL)
        self._start(GUNICORN, told | {"PORT": str(web_port)})
        wait_for_port(web_port)
        self.upstream = Upstream(web_port)
        state = home / ("nginx-behind-tls" if behind_tls else "nginx")
        state.mkdir()
        (state / "nginx.conf").write_text(
            edge_configuration.configuration(
                state,
                listen=f"127.0.0.1:{self.port}",
                web_ports=[self.upstream.port],
                stream_ports=[self.upstream.port],
                behind_tls=behind_tls,
                proxies=["127.0.0.1"] if behind_tls else (),
            )
        )
        nginx = shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin:/usr/local/sbin")
        assert nginx is not None
        self._start(
            [nginx, "-e", "stderr", "-p", str(state), "-c", str(state / "nginx.conf")], told
        )
        wait_for_port(self.port)
        lines = (home / "demo.env").read_text().splitlines()
        demo = dict(line.split("=", 1) for line in lines)
        self.login = demo["OPENBELL_USERNAME"], demo["OPENBELL_PASSWORD"]
        self.known = {
            "APCA-API-KEY-ID": demo["APCA_API_KEY_ID"],
            "APCA-API-SECRET-KEY": demo["APCA_API_SECRET_KEY"],
            "Cookie": "sessionid=stale; csrftoken=x",
        }

    def _start(self, command: list[str], told: dict[str, str]) -> None:
        self._processes.append(subprocess.Popen(command, cwd=ROOT, env=told))

    def stop(self) -> None:
        for process in reversed(self._processes):
            process.terminate()
        for process in self._processes:
            process.wait(STOP_SECONDS_MAX)

    def ask(self, path: str, **headers: str) -> Answer:
        return self.send("GET", path, headers)

    def send(self, method: str, path: str, headers: dict[str, str], body: str = "") -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path, body or None, headers)
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
