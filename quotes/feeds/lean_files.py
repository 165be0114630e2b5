"""The file formats of a LEAN data folder: where the files are and what their rows say.

Layout, under `equity/usa/` (all names in lower case):

    tick/<symbol>/<yyyymmdd>_trade.zip     ms, price, size, exchange, condition, suspicious
    tick/<symbol>/<yyyymmdd>_quote.zip     ms, bid, size, ask, size, exchange, condition, suspicious
    second|minute/<symbol>/…_trade.zip     ms, open, high, low, close, volume
    second|minute/<symbol>/…_quote.zip     ms, then open, high, low, close, size of bid and of ask
    daily/<symbol>.zip                     yyyymmdd hh:mm, open, high, low, close, volume

Prices are in 1/10,000 USD, as ours, and as traded: splits and dividends are not adjusted. Time is
in milliseconds from midnight New York. `lean_ticks.py` and `lean_bars.py` read the rows.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from datetime import date
from pathlib import Path

from quotes.feeds.base import FeedError

RESOLUTIONS = ("tick", "second", "minute")  # finest first
CHUNK_BYTES = 128 * 1024  # some 4,000 rows: little memory, and few enough calls
ROW_BYTES_MAX = 4096  # a file without line ends is no file of rows


class LeanFolder:
    """A LEAN data folder; FeedError where there is none."""

    def __init__(self, folder: Path | str) -> None:
        self.equity = Path(folder) / "equity" / "usa"
        if not self.equity.is_dir():
            raise FeedError(f"{folder} is not a LEAN data folder: it has no folder equity/usa")

    def file(self, resolution: str, symbol: str, on: date, kind: str) -> Path:
        """Where the trades or quotes (`kind`) of a symbol and day are, if they are."""
        return self.equity / resolution / symbol.lower() / f"{on:%Y%m%d}_{kind}.zip"

    def finest(self, symbol: str, on: date, kind: str) -> tuple[str, Path] | None:
        """The finest resolution of which there is a file, and the file."""
        for resolution in RESOLUTIONS:
            path = self.file(resolution, symbol, on, kind)
            if path.is_file():
                return resolution, path
        return None

    def symbols(self, on: date) -> list[str]:
        """The symbols with quotes or trades of a day, at any resolution."""
        found = {
            path.parent.name.upper()
            for resolution in RESOLUTIONS
            for path in (self.equity / resolution).glob(f"*/{on:%Y%m%d}_*.zip")
        }
        return sorted(found)

    def daily_files(self) -> dict[str, Path]:
        """The daily history there is, by symbol."""
        return {path.stem.upper(): path for path in sorted((self.equity / "daily").glob("*.zip"))}

    def minute_files(self, symbol: str) -> dict[date, Path]:
        """The days of which there are minute bars of trades."""
        paths = sorted((self.equity / "minute" / symbol.lower()).glob("????????_trade.zip"))
        return {parse_date(path.name[:8], path): path for path in paths}

    def minute_symbols(self) -> list[str]:
        """The symbols with minute bars of trades."""
        return sorted({p.parent.name.upper() for p in self.equity.glob("minute/*/*_trade.zip")})


def parse_date(text: str, path: Path) -> date:
    """A date written yyyymmdd; FeedError naming the file where it is none."""
    try:
        return date(int(text[:4]), int(text[4:6]), int(text[6:8]))
    except ValueError as error:
        raise FeedError(f"{path}: {text!r} is not a date") from error


def lines_of(path: Path) -> Iterator[list[str]]:
    """The rows of the one file in a zip, in chunks; the whole of it is never in memory.

    FeedError, naming the file, where it is missing, broken or not a zip.
    """
    try:
        with zipfile.ZipFile(path) as archive, archive.open(archive.namelist()[0]) as file:
            rest = b""
            while chunk := file.read(CHUNK_BYTES):
                rows, _, rest = (rest + chunk).rpartition(b"\n")
                if len(rest) > ROW_BYTES_MAX:
                    raise FeedError(f"{path} holds something else than rows of text")
                if rows:
                    yield rows.decode("ascii").splitlines()
            if rest:
                yield rest.decode("ascii").splitlines()
    except FileNotFoundError as error:
        raise FeedError(f"{path} does not exist") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, IndexError) as error:
        raise FeedError(f"{path} is not a readable zip file: {error}") from error
    except UnicodeDecodeError as error:
        raise FeedError(f"{path} holds something else than rows of text") from error
    except OSError as error:
        raise FeedError(f"{path} cannot be read: {error.strerror}") from error
