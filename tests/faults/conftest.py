"""The floor that the tests of this folder hurt, started once for each module."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.deploy.cluster import skip_without_servers
from tests.faults.crash_points import Armed, Fork, Forked

pytest.register_assert_rewrite("tests.faults.floor")  # it asserts for all tests here


@pytest.fixture(scope="module")
def floor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    skip_without_servers()
    from tests.faults.floor import Floor

    made = Floor(tmp_path_factory.mktemp("floor"))
    try:
        made.open()
        yield made
    finally:
        made.close()
    assert made.cluster.processes() == []


@pytest.fixture
def fork() -> Iterator[Fork]:
    """Make copies of this process; none of them outlives the test."""
    made: list[Forked] = []

    def make(work: Callable[[], None], arm: Armed | None = None) -> Forked:
        made.append(Forked(work, arm))
        return made[-1]

    yield make
    for process in made:
        process.end()
