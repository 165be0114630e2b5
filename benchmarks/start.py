"""How long `make run` takes to be ready, the first time and after that.

python -m benchmarks.start --starts 5
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from tests.running import RunningPlatform


def start(home: Path) -> float:
    """Seconds from the command to the first answer."""
    started = time.monotonic()
    with RunningPlatform(home):
        return time.monotonic() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--starts", type=int, default=5, help="starts after the first one")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="openbell-") as home:
        print(f"first start: {start(Path(home)):.1f} s, the market's past included")
        later = [start(Path(home)) for _ in range(arguments.starts)]
    print(
        f"later starts: median {statistics.median(later):.2f} s,"
        f" {min(later):.2f} to {max(later):.2f} s over {len(later)}"
    )


if __name__ == "__main__":
    main()
