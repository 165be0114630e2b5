"""The folder that holds all state, `OPENBELL_HOME`, and who may use it."""

from __future__ import annotations

import fcntl
import os
import secrets
from pathlib import Path
from typing import IO

from config.launcher.problems import Problem

OWNER_ONLY = 0o600


def prepare(home: Path) -> None:
    """Make the folder and the key that signs sessions, both for the owner's eyes."""
    try:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        key = home / "secret-key"
        if not key.exists():
            write_private(key, secrets.token_urlsafe(48) + "\n")
    except OSError as error:
        raise Problem(f"OPENBELL_HOME cannot be used: {error}.") from error


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read, all of it or none."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, OWNER_ONLY)
    with open(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def occupy(market_home: Path) -> IO[str]:
    """Keep other launchers away from this market's folder as long as the file is open."""
    market_home.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = (market_home / "lock").open("a+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        lock.seek(0)
        owner = lock.read().strip() or "unknown"
        raise Problem(
            f"Openbell already runs in {market_home} (process {owner}). "
            "Stop that one, or give this one another OPENBELL_HOME."
        ) from error
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
    return lock
