"""How gunicorn runs a web process: `gunicorn -c python:config.server.gunicorn_settings`."""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import hashlib
import os
import shutil
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from config import environment

wsgi_app = "config.wsgi:application"
try:
    environment.read_env_file()
    bind = f"{environment.text('HOST', '127.0.0.1')}:{environment.whole('PORT', default=8000)}"
    workers = environment.whole("WEB_WORKERS", default=1, least=1)  # one per core
    threads = environment.whole("HTTP_THREADS", default=8, least=1)
    forwarded_allow_ips = "127.0.0.1"  # nginx, which sets the headers anew
    _proxies = ",".join([*environment.names("PROXIES"), forwarded_allow_ips])
except ImproperlyConfigured as error:  # gunicorn would add a traceback
    raise SystemExit(str(error)) from None
worker_class = "config.server.gunicorn_worker.ThreadWorker"
worker_connections = 1000

# Time-outs grow inward, so that it is always the outer one that closes an idle connection first:
# balancer 60 s, nginx to us 30 s, we 75 s. Otherwise a request meets a connection being closed.
keepalive = 75
graceful_timeout = 30
# Of the main thread, which waits for nothing; a slow view is bounded by its time-outs.
timeout = 30
limit_request_line = 8190  # the most there is, and what nginx takes: a thousand symbols

worker_tmp_dir = "/dev/shm" if os.path.isdir("/dev/shm") else None  # the heartbeat's file
control_socket_disable = True  # would be opened in the home folder of whoever starts us
raw_env = [f"PROXIES={_proxies}"]
loglevel = "warning"


def _share_metrics() -> None:
    """Have workers count into files of one folder: whichever is asked tells what all counted.

    The library looks for its name when it is first imported, which is later.
    """
    mark = hashlib.sha256(str(environment.home()).encode()).hexdigest()[:10]
    prefix = f"openbell-metrics-{mark}-"
    _remove_those_left(prefix)
    folder = _new_folder(prefix)
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
    master = os.getpid()

    def forget() -> None:
        if os.getpid() == master:
            shutil.rmtree(folder, ignore_errors=True)

    atexit.register(forget)


def _remove_those_left(prefix: str) -> None:
    """Remove the folders of masters that were killed: nobody holds them any more."""
    for left in Path(worker_tmp_dir or tempfile.gettempdir()).glob(f"{prefix}*"):
        with contextlib.suppress(OSError):
            held = os.open(left, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(left, ignore_errors=True)
            finally:
                os.close(held)


def _new_folder(prefix: str) -> str:
    """A folder that is held as long as a process lives of those that the master makes."""
    while True:
        folder = tempfile.mkdtemp(prefix=prefix, dir=worker_tmp_dir)
        with contextlib.suppress(FileNotFoundError):  # taken for one that was left, not held yet
            fcntl.flock(os.open(folder, os.O_RDONLY), fcntl.LOCK_EX)
        if os.path.isdir(folder):
            return folder


if workers > 1:
    _share_metrics()


def on_starting(server: Any) -> None:
    """Look at the database servers, and load the apps, before listening.

    Gunicorn listens first and loads in its workers, and whoever connects meanwhile hangs for
    seconds. What is imported here is there when a worker is forked; it leaves nothing open.
    """
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    from config.launcher.problems import Problem, in_plain_sentences

    try:
        with in_plain_sentences():
            _check_and_load()
    except Problem as problem:
        raise SystemExit(str(problem)) from None


def child_exit(server: Any, worker: Any) -> None:
    """What a worker has counted stays; what it was, as how far behind a replica, goes."""
    if workers > 1:
        from prometheus_client.multiprocess import mark_process_dead

        mark_process_dead(worker.pid)


def _check_and_load() -> None:
    import django
    from django.conf import settings
    from django.core.cache import caches

    from config.databases import start

    start.check_connections(threads=threads, workers=workers)
    django.setup()
    start.check_servers()
    import_module(settings.ROOT_URLCONF)
    for name in settings.CACHES:
        caches[name]  # imports Redis's client, and connects to nothing before it is asked
