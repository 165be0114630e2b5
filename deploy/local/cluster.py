"""The whole topology on this machine: `python -m deploy.local.cluster up|status|down`.

MariaDB with two replicas, Redis, nginx, two web and two stream processes, feed, execution and relay
with a standby each, as Procfile lists them under one supervisor. State is in OPENBELL_HOME/cluster;
sockets are reached through a short link in the temporary folder, for the path of one may have 107
characters. Only nginx listens on HOST and PORT; everything else on free ports of 127.0.0.1.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from config import environment
from config.launcher import address
from config.launcher.home import prepare as prepare_home
from config.launcher.home import write_private
from config.launcher.problems import Problem, in_plain_sentences
from deploy.local import edge

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parents[1]
PROCFILE = HERE / "Procfile"
PROCESSES = re.findall(r"^(\w+):", PROCFILE.read_text(), re.MULTILINE)
# What the cluster and its management commands are started with, but for what is the edge's alone.
SETTINGS = {*re.findall(r"^([A-Z_]+)=", (CHECKOUT / ".env.example").read_text(), re.MULTILINE)} - {
    "HOST",
    "PORT",
    "OPENBELL_ENV_FILE",
}
SERVERS = ("databases", "redis", "edge")  # the others are Openbell's own

SHARD = r"relay|(feed|execution):\w+"  # a lease that is shown; others are within these
READY_SECONDS_MAX = 300.0
STOP_SECONDS_MAX = 10.0
SERVERS_STOP_SECONDS_MAX = 25.0
PROGRAMS = {"nginx": "nginx-light", "redis-server": "redis-server", "mariadbd": "mariadb-server"}

environment.read_env_file()
HOME = environment.home() / "cluster"
RUN = HOME / "run"
LOG = HOME / "cluster.log"
SETTINGS_FILE = HOME / "cluster.env"
PYTHON = ".venv/bin/python"


def main() -> int:
    """Returns the exit code: 1 where it could not be done, which is said in one sentence."""
    commands: dict[str, Callable[[], None]] = {"up": up, "status": status, "down": down}
    os.environ["PATH"] += os.pathsep + "/usr/sbin" + os.pathsep + "/usr/local/sbin"
    try:
        with in_plain_sentences():
            commands[sys.argv[1]]()
    except Problem as problem:
        print(problem, file=sys.stderr)
        return 1
    return 0


# --- up ------------------------------------------------------------------------------------------


def up() -> None:
    """Start what is not running, and return when all of it answers."""
    begun = time.monotonic()
    if _supervisor() is not None:
        print("The cluster already runs.")
        status()
        return
    _check_programs()
    listener = address.bind()  # refuses a port in use, in plain words
    url = address.public_url(listener)
    listener.close()
    address.allow_own_names()
    prepare_home(HOME)
    shutil.rmtree(RUN, ignore_errors=True)
    RUN.mkdir()
    (HOME / "static").mkdir(exist_ok=True)  # filled while the first processes start
    variables = _environment(url)
    _configure_edge(variables)
    write_private(SETTINGS_FILE, "".join(f"{k}={v}\n" for k, v in variables.items()))
    try:
        _start(variables, url)
    except BaseException:
        down()
        raise
    print(f"The cluster is open at {url}/ after {time.monotonic() - begun:.1f} s.")
    print(f"Login and API key are in {HOME / 'demo.env'}, logs in {LOG}.")
    print("make cluster-status shows its processes, make cluster-down stops it.")
    print("Management commands speak to it like this:")
    print(f"  OPENBELL_ENV_FILE={SETTINGS_FILE} {PYTHON} manage.py reconcile")


def _check_programs() -> None:
    missing = [package for program, package in PROGRAMS.items() if not shutil.which(program)]
    if missing:
        raise Problem(f"The cluster needs servers: run 'sudo apt-get install {' '.join(missing)}'.")


def _environment(url: str) -> dict[str, str]:
    """What every process of the cluster is told, and what a management command needs to know.

    Starts the databases, which choose their ports.
    """
    folder = _short_link(HOME / "databases")
    said = subprocess.run(
        [HERE / "replicas.sh", "start", folder], capture_output=True, text=True, check=False
    )
    if said.returncode != 0:
        raise Problem(f"The databases did not start: {said.stderr.strip()[-500:]}")
    without = {"databases", "edge", "past"}
    names = [f"{name.upper()}_PORT" for name in PROCESSES if name not in without]
    ports = dict(zip(names, map(str, _free_ports(len(names))), strict=True))
    given = {name: os.environ[name] for name in sorted(SETTINGS) if os.environ.get(name)}
    return {
        **given,
        "OPENBELL_HOME": str(HOME),
        "PUBLIC_URL": url,
        "DATABASES": str(folder),
        **dict(line.split("=", 1) for line in said.stdout.splitlines() if "=" in line),
        "REDIS_URL": f"redis://127.0.0.1:{ports['REDIS_PORT']}/0",
        "REDIS_STATE_URL": f"redis://127.0.0.1:{ports['REDIS_PORT']}/1",
        "SECRET_KEY": (HOME / "secret-key").read_text().strip(),
        **ports,
    }


def _short_link(folder: Path) -> Path:
    """A short path to a folder, always the same one: MariaDB notes the paths of its logs."""
    folder.mkdir(exist_ok=True, mode=0o700)
    name = hashlib.sha256(str(folder).encode()).hexdigest()[:10]
    link = Path(tempfile.gettempdir()) / f"openbell-{name}"
    with contextlib.suppress(FileExistsError):
        link.symlink_to(folder)
    if not link.is_symlink() or link.lstat().st_uid != os.getuid() or link.readlink() != folder:
        raise Problem(f"{link} is somebody else's; the cluster needs that name for its sockets.")
    return link


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as held:
        listeners = [held.enter_context(socket.socket()) for _ in range(count)]
        for listener in listeners:
            listener.bind(("127.0.0.1", 0))
        return [listener.getsockname()[1] for listener in listeners]


def _configure_edge(variables: dict[str, str]) -> None:
    """Write nginx's configuration from the template."""
    state = HOME / "nginx"
    state.mkdir(exist_ok=True, mode=0o700)
    host, port = environment.text("HOST", "127.0.0.1"), environment.whole("PORT", default=8000)

    text = edge.configuration(
        state,
        listen=f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
        web_ports=[variables["WEB1_PORT"], variables["WEB2_PORT"]],
        stream_ports=[variables["STREAM1_PORT"], variables["STREAM2_PORT"]],
        behind_tls=environment.flag("HTTPS", default=False),
        proxies=map(str, environment.networks("PROXIES")),
    )
    (state / "nginx.conf").write_text(text)


def _start(variables: dict[str, str], url: str) -> None:
    prepared, ready = _Gate("prepared"), _Gate("ready")
    inherited = {name: value for name, value in os.environ.items() if value}
    told = {**inherited, **variables, "HOST": "127.0.0.1", "PYTHON": sys.executable}
    told |= {"PYTHONUNBUFFERED": "1", "DJANGO_SETTINGS_MODULE": "config.settings"}
    with LOG.open("ab") as log:
        supervisor = subprocess.Popen(
            [
                *(sys.executable, "-m", "honcho", "--env", os.devnull),
                *("--app-root", CHECKOUT, "--procfile", PROCFILE, "start"),
            ],
            cwd=CHECKOUT,
            env=told,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # it outlives this command and its terminal
        )
    (RUN / "supervisor.pid").write_text(str(supervisor.pid))
    done = subprocess.run(
        [sys.executable, "-m", "config.launcher.prepare", url], cwd=CHECKOUT, env=told, check=False
    )
    if done.returncode != 0:
        raise Problem("The cluster could not be prepared.")
    prepared.open()
    _wait_until_ready(variables, url, supervisor)
    ready.open()


class _Gate:
    """What keep.sh waits at: a pipe that nobody writes to, and a file in its place once it opens.

    Ten processes that looked for the file ten times a second would take a third of a core from
    those that are starting.
    """

    def __init__(self, name: str) -> None:
        self._path = RUN / name
        os.mkfifo(self._path, 0o600)
        self._held = os.open(self._path, os.O_RDWR)

    def open(self) -> None:
        """Let everybody through: who waits reads the end of the pipe, who comes later the file."""
        file = self._path.with_name(f".{self._path.name}")
        file.touch()
        file.replace(self._path)
        os.close(self._held)


def _wait_until_ready(
    variables: dict[str, str], url: str, supervisor: subprocess.Popen[bytes]
) -> None:
    ports = [variables[f"{name}_PORT"] for name in ("WEB1", "WEB2", "STREAM1", "STREAM2")]
    asked = [*(f"http://127.0.0.1:{port}/readyz" for port in ports), f"{url}/readyz"]
    deadline = time.monotonic() + READY_SECONDS_MAX
    while not (all(map(_is_ready, asked)) and _all_is_owned(variables)):
        if supervisor.poll() is not None or time.monotonic() > deadline:
            tail = LOG.read_text(errors="replace")[-2000:]
            raise Problem(f"The cluster did not become ready. The end of {LOG}:\n{tail}")
        time.sleep(0.1)


def _all_is_owned(variables: dict[str, str]) -> bool:
    """Whether feed, relay and every shard of execution have an owner."""
    shards = environment.whole("EXECUTION_SHARDS", default=1, least=1)
    kinds = Counter(name.partition(":")[0] for name in owners(variables))
    return kinds == {"feed": 1, "relay": 1, "execution": shards}


def _is_ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return b'"feed": "ok"' in answer.read()
    except (urllib.error.URLError, OSError):
        return False


# --- status --------------------------------------------------------------------------------------


def status() -> None:
    """Print every process and who owns what."""
    if _supervisor() is None:
        raise Problem("The cluster is down; make cluster starts it.")
    variables = read_environment()
    print(f"{variables['PUBLIC_URL']}/")
    for name in PROCESSES:
        pid = pid_of(name)
        port = variables.get(f"{name.upper()}_PORT", "")
        state = f"up    {pid}" if pid else ("done" if name == "past" else "down")
        print(f"  {name:11} {state:13} {port}".rstrip())
    for name, owner in sorted(owners(variables).items()):
        print(f"  {name:11} is owned by process {owner}")


def read_environment() -> dict[str, str]:
    """What the processes of the cluster were told."""
    lines = SETTINGS_FILE.read_text().splitlines()
    return dict(line.split("=", 1) for line in lines)


def pid_of(name: str) -> int | None:
    """The process of that name, if it is running."""
    try:
        pid = int((RUN / f"{name}.pid").read_text())
        os.kill(pid, 0)
    except (OSError, ValueError):
        return None
    return pid


def owners(variables: dict[str, str]) -> dict[str, int]:
    """Which process owns feed, relay and each shard, as far as the primary can be asked."""
    import MySQLdb

    at = urlsplit(variables["DATABASE_URL"])
    try:
        connection = MySQLdb.connect(
            host=at.hostname,
            port=at.port,
            user=at.username,
            password=at.password,
            database=at.path.strip("/"),
            connect_timeout=2,
        )
    except MySQLdb.Error:
        return {}
    with contextlib.closing(connection), contextlib.closing(connection.cursor()) as cursor:
        cursor.execute("SELECT name, owner FROM events_lease WHERE expires_at > UTC_TIMESTAMP(6)")
        found = {name: int(owner.split(":")[1]) for name, owner in cursor.fetchall()}
    return {name: pid for name, pid in found.items() if re.fullmatch(SHARD, name)}


# --- down ----------------------------------------------------------------------------------------


def down() -> None:
    """Stop Openbell's processes, then the servers under them, then the supervisor."""
    supervisor = _supervisor()
    if RUN.is_dir():
        (RUN / "stopping").touch()  # from now on nothing is started again
    ours = [name for name in PROCESSES if name not in SERVERS]
    _end(ours, STOP_SECONDS_MAX)
    _end([*reversed(SERVERS)], SERVERS_STOP_SECONDS_MAX)
    if supervisor is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(supervisor, signal.SIGTERM)
        _wait_for(lambda: _supervisor() is None, STOP_SECONDS_MAX)
    if HOME.is_dir():
        link = _short_link(HOME / "databases")
        subprocess.run([HERE / "replicas.sh", "stop", link], check=False)  # had nobody watched them
        link.unlink()
    shutil.rmtree(RUN, ignore_errors=True)
    print("The cluster is down.")


def _end(names: list[str], seconds: float) -> None:
    """Ask processes to end; one that does not in time is killed."""
    pids = [pid for name in names if (pid := pid_of(name))]
    for number in (signal.SIGTERM, signal.SIGKILL):
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        if _wait_for(lambda: not any(pid_of(name) for name in names), seconds):
            return


def _supervisor() -> int | None:
    return pid_of("supervisor")


def _wait_for(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


if __name__ == "__main__":
    sys.exit(main())
