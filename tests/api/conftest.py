from __future__ import annotations

from collections.abc import Iterator

import pytest

from access import lookups


@pytest.fixture(autouse=True)
def _nobody_remembered() -> Iterator[None]:
    """Rows of the test before had the same ids."""
    lookups.forget_everyone()
    yield
    lookups.forget_everyone()
