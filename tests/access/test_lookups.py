from __future__ import annotations

import pytest

from access.lookups import REMEMBERED_MAX, Memory


def test_a_value_is_loaded_once_while_it_is_fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[str] = []
    memory: Memory[str, str] = Memory(lambda key: loaded.append(key) or key.upper())
    now = [100.0]
    monkeypatch.setattr("access.lookups.time.monotonic", lambda: now[0])

    assert [memory.get("a"), memory.get("a")] == ["A", "A"]
    assert loaded == ["a"]

    now[0] += 2.1
    memory.get("a")
    assert loaded == ["a", "a"]


def test_what_does_not_exist_is_not_remembered() -> None:
    found: dict[str, str] = {}
    memory: Memory[str, str] = Memory(found.get)

    assert memory.get("a") is None
    found["a"] = "now"
    assert memory.get("a") == "now"


def test_memory_is_bounded() -> None:
    memory: Memory[int, int] = Memory(lambda key: key)
    for key in range(REMEMBERED_MAX + 50):
        memory.get(key)

    assert len(memory._entries) == REMEMBERED_MAX
