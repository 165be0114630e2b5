"""A cluster for the tests of a module, gone without a trace after them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.deploy.cluster import Cluster, skip_without_servers


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    skip_without_servers()
    cluster = Cluster(tmp_path_factory.mktemp("cluster"), SEED="7")
    try:
        cluster.said = cluster.run("cluster", "up")
        yield cluster
    finally:
        cluster.run("cluster", "down")
    assert cluster.processes() == []
