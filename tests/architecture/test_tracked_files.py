"""What may not stand in any file: this or that machine, unpinned packages, hidden settings."""

from __future__ import annotations

import ast
import re

import pytest

from tests.architecture.sources import ROOT, python_files, tracked

TEXT = {"", ".py", ".md", ".txt", ".in", ".toml", ".json", ".sh", ".js", ".css", ".html", ".yml"}
REGISTRIES = ("registry", "pypi", "pythonhosted", "mirror", "/simple/")  # what their hosts say
REGISTRY_HOST = re.compile(rf"https?://[^\s\"']*(?:{'|'.join(REGISTRIES)})")
MACHINE_PATH = re.compile(r"(?<![\w.$}/])/(?:root|home|Users|work)/\w")
REQUIREMENTS = ("requirements.txt", "requirements-embedded.txt", "requirements-test.txt")
PINNED = re.compile(r"^[A-Za-z0-9._-]+(?:\[[\w,-]+\])?==\S+")


def texts() -> list[tuple[str, str]]:
    """Name and content of every tracked text file but this one."""
    found = []
    for path in tracked():
        if path.suffix in TEXT and path.name != "test_tracked_files.py":
            found.append((str(path.relative_to(ROOT)), path.read_text(errors="replace")))
    return found


@pytest.mark.parametrize("trace", [REGISTRY_HOST, MACHINE_PATH], ids=["registry", "machine path"])
def test_no_file_remembers_where_it_was_made(trace):
    assert [(name, found[0]) for name, text in texts() if (found := trace.search(text))] == []


def test_the_lock_file_holds_no_addresses():
    lock = (ROOT / "deploy/browser/package-lock.json").read_text()

    assert "resolved" not in lock
    assert lock.count('"integrity"') == lock.count('"node_modules/')


@pytest.mark.parametrize("name", [*REQUIREMENTS, "requirements-node.txt"])
def test_every_package_is_pinned_with_hashes(name):
    entries = (ROOT / name).read_text().replace("\\\n", " ").splitlines()
    packages = [line for line in entries if line.strip() and not line.lstrip().startswith("#")]

    assert packages
    for line in packages:
        assert PINNED.match(line), line
        assert "--hash=sha256:" in line, line


@pytest.mark.parametrize("name", REQUIREMENTS[1:])
def test_sets_agree_on_versions(name):
    def versions(file: str) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for line in (ROOT / file).read_text().splitlines():
            if PINNED.match(line):
                package, _, version = line.split()[0].partition("==")
                found.setdefault(package, set()).add(version)
        return found

    production = versions("requirements.txt")
    for package, pinned in versions(name).items():
        assert production.get(package, pinned) == pinned, package


def test_embedded_set_needs_no_compiler_and_no_client_of_tests():
    embedded = (ROOT / "requirements-embedded.txt").read_text()

    for package in ("mysqlclient", "pandas", "alpaca-py", "numpy"):
        assert f"\n{package}==" not in f"\n{embedded}"


def environment_reads() -> set[str]:
    """Names that config asks `config.environment` for."""
    names = set()
    for path in python_files("config"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and node.args:
                called = ast.unparse(node.func)
                first = node.args[0]
                if re.fullmatch(r"(environment\.)?[a-z_]+", called) and isinstance(
                    first, ast.Constant
                ):
                    names.add(first.value)
    return {name for name in names if isinstance(name, str) and re.fullmatch("[A-Z][A-Z_]+", name)}


def test_env_example_lists_what_is_read_and_nothing_else():
    listed = set(re.findall(r"^([A-Z][A-Z_]+)=", (ROOT / ".env.example").read_text(), re.M))

    assert listed == environment_reads()


def test_settings_are_read_in_one_place():
    """An app that reads the environment itself would hide a setting from .env.example."""
    readers = [
        str(path.relative_to(ROOT))
        for path in python_files("access", "trading", "portfolios", "quotes", "events")
        if re.search(r"os\.environ|getenv", path.read_text())
    ]

    assert readers == []
