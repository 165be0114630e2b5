"""One running platform for all tests here that ask one over the network."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.running import RunningPlatform


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPlatform]:
    with RunningPlatform(tmp_path_factory.mktemp("openbell")) as running:
        yield running
