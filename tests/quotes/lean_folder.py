"""A small LEAN data folder, written by tests: one instrument per resolution."""

import zipfile
from datetime import date
from pathlib import Path

DAY = date(2013, 10, 7)
NINE_MS = 9 * 3_600_000


def write_zip(path: Path, *rows: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(path.stem + ".csv", "".join(row + "\n" for row in rows))
    return path


def lean_file(folder: Path, resolution: str, symbol: str, kind: str, *rows: str) -> Path:
    name = f"{DAY:%Y%m%d}_{kind}.zip"
    return write_zip(folder / "equity" / "usa" / resolution / symbol.lower() / name, *rows)


def quote_rows(at: int, bid: int, ask: int) -> list[str]:
    return [f"{at},{bid},100,0,0,P,1,0", f"{at},0,0,{ask},200,Q,1,0"]


def write_lean_folder(folder: Path) -> Path:
    """TICKY in ticks, SECY in seconds, MINY in minutes; a minute and a half each from nine."""
    quotes, trades = [], []
    for n in range(90):
        quotes += quote_rows(NINE_MS + n * 1000, 1_000_000 + n * 100, 1_000_200 + n * 100)
        trades.append(f"{NINE_MS + n * 1000},{1_000_000 + n * 100},100,N,1,0")
    lean_file(folder, "tick", "TICKY", "quote", *quotes)
    lean_file(folder, "tick", "TICKY", "trade", *trades)
    seconds = [NINE_MS + n * 1000 for n in range(90)]
    lean_file(folder, "second", "SECY", "quote", *(f"{t}{',9,9,9,9,5' * 2}" for t in seconds))
    lean_file(folder, "second", "SECY", "trade", *(f"{t},20,24,19,21,40" for t in seconds))
    lean_file(folder, "minute", "MINY", "quote", f"{NINE_MS},7,9,6,8,300,9,9,9,9,400")
    lean_file(folder, "minute", "MINY", "trade", f"{NINE_MS},20,24,19,19,4000")
    return folder
