"""The figures that the processes of benchmarks/streams.py share: numbers in a mapped file."""

from __future__ import annotations

import mmap
from pathlib import Path

# streams.h has the same; after these fields come the deliveries by their age.
FIELDS = range(10)
DELIVERED, READY, CLOSED, STOP, BYTES, READS, PUBLISHED, ENOUGH, WINDOW, RATE = FIELDS
AGES = slice(len(FIELDS), None)
BUCKETS, BUCKET_US = 20_000, 20


class Shared:
    """The mapped file, as whoever measures sees it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.write_bytes(bytes(8 * (len(FIELDS) + BUCKETS)))
        with path.open("r+b") as file:
            self._numbers = memoryview(mmap.mmap(file.fileno(), 0)).cast("Q")

    def __getitem__(self, field: int) -> int:
        return self._numbers[field]

    def set(self, field: int, value: int) -> None:
        self._numbers[field] = value

    def figures(self) -> list[int]:
        """All fields as they stand; after them, the deliveries by their age."""
        return self._numbers.tolist()

    def clear(self) -> None:
        for field in range(len(self._numbers)):
            self._numbers[field] = 0
