"""The shape of the house: which way imports go, how large a room may be, what it may be called."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Collection, Iterator
from pathlib import Path

import pytest

from tests.architecture.sources import CODE, ROOT, python_files, tracked

FUNCTION_LINES_P90 = 30
FUNCTION_LINES_MAX = 60
# A name that fits anything attracts everything.
FORBIDDEN_NAMES = {"utils", "util", "helpers", "helper", "services", "common", "misc", "lib"}
TOP_LEVEL = {
    *("access", "trading", "portfolios", "quotes", "events", "config"),
    *("deploy", "tests", "benchmarks", ".ci"),
}


def test_imports_go_one_way():
    """The contracts stand in pyproject.toml; this is the linter that reads them."""
    done = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as l; l()"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert done.returncode == 0, done.stdout + done.stderr


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported_by(path: Path, files: Collection[str]) -> Iterator[str]:
    """Which of the files another imports, though it be for types only."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            names = [f"{node.module}.{each.name}" for each in node.names]
            yield from (name if name in files else node.module for name in names)


def test_no_two_files_import_each_other():
    files = {module_of(path): path for path in python_files(*CODE)}
    imports = {name: set(imported_by(path, files)) for name, path in files.items()}

    pairs = [(name, other) for name in files for other in imports[name] & files.keys()]
    assert pairs
    assert [(one, two) for one, two in pairs if one < two and one in imports[two]] == []


@pytest.mark.parametrize(("folders", "lines_max"), [(CODE, 400), (("tests",), 650)])
def test_files_are_small_rooms(folders, lines_max):
    lines = {path: len(path.read_text().splitlines()) for path in python_files(*folders)}

    assert {path: count for path, count in lines.items() if count > lines_max} == {}


def function_lengths(paths: list[Path]) -> Iterator[tuple[int, str]]:
    """Lines of each function with its docstring left out, and where it is."""
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                start = node.body[0].lineno
                if ast.get_docstring(node) is not None and len(node.body) > 1:
                    start = node.body[1].lineno
                assert node.end_lineno is not None
                yield node.end_lineno - start + 1, f"{path.relative_to(ROOT)}:{node.lineno}"


def test_functions_fit_on_a_screen():
    lengths = sorted(function_lengths(python_files(*CODE)))

    assert lengths[len(lengths) * 9 // 10][0] < FUNCTION_LINES_P90
    assert [where for lines, where in lengths if lines > FUNCTION_LINES_MAX] == []


def test_no_room_is_named_after_nothing():
    named = [path for path in tracked() if path.stem in FORBIDDEN_NAMES]

    assert named == []


def test_top_level_folders_are_those_of_the_design():
    folders = {path.relative_to(ROOT).parts[0] for path in tracked() if path.parent != ROOT}

    assert folders <= TOP_LEVEL
