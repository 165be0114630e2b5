"""A fresh database for a benchmark that works within this process, gone when it ends."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

STATEMENT_SECONDS_MAX = 300


@contextmanager
def own_database(*, with_redis: bool = False) -> Iterator[str]:
    """Django set up on a schema of the benchmark's own; yields the database's name.

    It lies on the server that DATABASE_URL names, whose user may make schemas called `test_…`; on
    SQLite in a temporary folder without it. Nothing is cached in Redis, unless the benchmark is
    about that: then in the one that REDIS_URL names.
    """
    if with_redis and not (os.environ.get("REDIS_URL") and os.environ.get("DATABASE_URL")):
        raise SystemExit("DATABASE_URL and REDIS_URL have to name servers: deploy/local/servers.sh")
    home = tempfile.mkdtemp(prefix="openbell-bench-")
    os.environ |= {
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "OPENBELL_HOME": home,
        "OPENBELL_ENV_FILE": os.devnull,
        "SECRET_KEY": "only-for-this-benchmark",
        "LOG_LEVEL": "WARNING",
        "REDIS_URL": os.environ["REDIS_URL"] if with_redis else "",
        "REDIS_STATE_URL": "",
    }
    try:
        with _schema():
            from django.db import connection

            yield connection.display_name
    finally:
        shutil.rmtree(home, ignore_errors=True)


@contextmanager
def _schema() -> Iterator[None]:
    import django

    django.setup()
    from django.conf import settings
    from django.db import connection

    settings.MARKET_HOME.mkdir(parents=True, exist_ok=True)
    settings.STATIC_ROOT.mkdir()  # empty, but WhiteNoise looks
    settings.ALLOWED_HOSTS = ["testserver"]
    is_mysql = connection.vendor == "mysql"
    connection.settings_dict["TEST"]["NAME"] = (
        f"test_bench_{os.getpid()}" if is_mysql else str(settings.MARKET_HOME / "bench.sqlite3")
    )
    name = connection.settings_dict["NAME"]
    if is_mysql:  # what a benchmark compares itself with may take longer than a request may
        connection.settings_dict["OPTIONS"]["read_timeout"] = STATEMENT_SECONDS_MAX
    connection.creation.create_test_db(verbosity=0, autoclobber=True, serialize=False)
    try:
        yield
    finally:
        connection.creation.destroy_test_db(name, verbosity=0)
