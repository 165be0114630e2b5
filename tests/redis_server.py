"""A Redis of a test's own, to stop, to kill and to start again."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.waiting import eventually


class RedisServer:
    """A server at a socket in `home`, whose path has to be short. It keeps nothing."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.url = f"unix://{home}/s"

    def start(self) -> None:
        """Returns once it answers."""
        command = ["redis-server", "--port", "0", "--unixsocket", "s", "--save", ""]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=self.home)
        try:
            eventually(self._answers, "a Redis")
        except BaseException:
            self.kill()
            raise

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def _answers(self) -> bool:
        from redis import Redis
        from redis.exceptions import RedisError

        assert self.process.poll() is None, "Redis did not start"
        try:
            with Redis.from_url(self.url, socket_timeout=1) as client:
                return bool(client.ping())
        except RedisError:
            return False


@contextmanager
def running_redis(home: Path) -> Iterator[RedisServer]:
    """One that runs, whatever the block does to it; skips, loudly, where there is no Redis."""
    pytest.importorskip("redis", reason="NO REDIS: the production set is not installed")
    if shutil.which("redis-server") is None:
        pytest.skip("NO REDIS: redis-server is not installed")
    made = RedisServer(home)
    made.start()
    try:
        yield made
    finally:
        made.kill()
