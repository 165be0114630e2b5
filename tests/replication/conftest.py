"""Django inside this process, on a real primary with two replicas and a Redis of its own."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import caches
from django.core.management import call_command
from django.db import connections, router

from config import environment
from tests.redis_server import RedisServer, running_redis
from tests.replication.cluster import Cluster
from tests.waiting import eventually

os.environ["PATH"] += os.pathsep + "/usr/sbin"  # where Debian keeps mariadbd


@pytest.fixture(scope="package")
def cluster() -> Iterator[Cluster]:
    pytest.importorskip("MySQLdb", reason="NO REPLICATION TESTS: mysqlclient is not installed")
    for server in ("mariadbd", "redis-server"):
        if shutil.which(server) is None:
            pytest.skip(f"NO REPLICATION TESTS: {server} is not installed")
    # Short: the path of a socket may have 107 characters.
    made = Cluster(Path(tempfile.mkdtemp(prefix="ob.", dir="/tmp")))
    try:
        yield made
    finally:
        made.stop()
        shutil.rmtree(made.folder, ignore_errors=True)


@pytest.fixture(scope="package")
def migrated(cluster: Cluster, django_db_blocker: Any) -> Iterator[Cluster]:
    """The cluster behind Django's aliases, for as long as the tests of this folder run."""
    from config.databases import health

    addresses = cluster.start()
    with _databases(addresses), django_db_blocker.unblock():
        call_command("migrate", verbosity=0)
        try:
            yield cluster
        finally:
            health.forget_watch()


@pytest.fixture(scope="package")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with running_redis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="package")
def redis_url(redis_server: RedisServer) -> str:
    return redis_server.url


class _databases:
    """Let Django's connections lead to these servers, and back again."""

    def __init__(self, addresses: dict[str, str]) -> None:
        from config.settings import _mysql

        read = environment._mysql
        urls = [addresses["DATABASE_URL"], *addresses["REPLICA_URLS"].split(",")]
        names = ["default", "replica_1", "replica_2"]
        self.databases = {
            name: _mysql(read(name, url, ""), connect=1, read=2, write=2)
            for name, url in zip(names, urls, strict=True)
        }

    def __enter__(self) -> dict[str, Any]:
        from config.databases.router import Router

        connections.close_all()
        self._before = connections.settings
        self._routers = router.routers
        for alias in list(self._before):
            if hasattr(connections._connections, alias):
                del connections[alias]
        connections.settings = connections.configure_settings(self.databases)
        router.routers = [Router()]
        return self.databases

    def __exit__(self, *error: object) -> None:
        connections.close_all()
        for alias in connections.settings:
            if hasattr(connections._connections, alias):
                del connections[alias]
        connections.settings = self._before
        router.routers = self._routers


@pytest.fixture
def replicated(migrated: Cluster, redis_url: str, settings: Any) -> Iterator[Cluster]:
    """The healthy cluster, and settings that know of it; whatever a test does to it is undone."""
    from config.databases import pinning
    from events import log

    settings.REPLICAS = ["replica_1", "replica_2"]
    settings.REDIS_STATE_URL = redis_url
    settings.CACHES = {**settings.CACHES, "state": state_cache(redis_url)}
    settings.AFTER_COMMIT = "config.databases.pinning.accounts_changed"
    settings.MIDDLEWARE = ["config.databases.requests.ReplicaReads", *settings.MIDDLEWARE]
    log._after_commit.cache_clear()
    pinning._away_until = 0.0
    caches["state"].clear()
    try:
        yield migrated
    finally:
        # A test without Redis leaves a thread behind that waits for it.
        settings.CACHES = {**settings.CACHES, "state": state_cache(redis_url)}
        eventually(lambda: not pinning._repairing.locked(), "the end of a repair")
        connections.close_all()  # some may lead to a server that was killed
        migrated.heal()
        log._after_commit.cache_clear()


def state_cache(url: str, answer_seconds: float = 5.0) -> dict[str, Any]:
    """A setting for the cache of marks, which waits so long for Redis.

    The seconds are in the address, because connections are shared by address.
    """
    wait = f"socket_timeout={answer_seconds}&socket_connect_timeout={answer_seconds}"
    return {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": f"{url}?{wait}",
        "OPTIONS": {"SERIALIZER": "django_redis.serializers.json.JSONSerializer"},
    }


@pytest.fixture
def settled(replicated: Cluster, settings: Any) -> Cluster:
    """The same with all servers known to be fit, and with marks old enough to be trusted."""
    from config.databases import health, heartbeat, pinning
    from events.models import Lease

    eventually(lambda: health.usable_replicas() and not health.primary_is_away(), "the primary")
    beat = Lease.objects.get(name=heartbeat.NAME).expires_at
    for alias in settings.REPLICAS:  # an earlier test may have broken them off from the primary
        beats = Lease.objects.using(alias).filter(name=heartbeat.NAME, expires_at__gte=beat)
        eventually(beats.exists, f"the heartbeat on {alias}")
    eventually(lambda: len(health.usable_replicas()) == 2, "both replicas to be read from")
    caches["state"].set(pinning.KEPT, 1, None)
    return replicated
