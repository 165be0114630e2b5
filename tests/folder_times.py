"""A pytest plugin that prints how long each test folder took."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

_seconds: Counter[str] = Counter()
_tests: Counter[str] = Counter()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    folder = report.nodeid.partition("::")[0].rpartition("/")[0] or "."
    _seconds[folder] += report.duration
    _tests[folder] += report.when == "call"


def pytest_terminal_summary(terminalreporter: Any) -> None:
    terminalreporter.section("time per folder")
    for folder, seconds in _seconds.most_common():
        terminalreporter.line(f"{seconds:8.1f} s  {_tests[folder]:5} tests  {folder}")
