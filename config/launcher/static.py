"""Static files under hashed names, collected again only when one has changed."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from django.conf import settings
from django.contrib.staticfiles.finders import get_finders
from django.core.management import call_command


def collect_if_changed() -> None:
    """Fill STATIC_ROOT from the apps and the browser libraries."""
    root = Path(settings.STATIC_ROOT)
    stamp = root / ".fingerprint"
    fingerprint = _fingerprint()
    if stamp.is_file() and stamp.read_text() == fingerprint:
        return
    root.mkdir(parents=True, exist_ok=True)
    call_command("collectstatic", interactive=False, clear=True, verbosity=0)
    stamp.write_text(fingerprint)


def _fingerprint() -> str:
    """Changes with every path, size and modification time of the sources."""
    digest = hashlib.sha256()
    for finder in get_finders():
        for path, storage in finder.list(ignore_patterns=None):
            status = os.stat(storage.path(path))
            prefix = getattr(storage, "prefix", "") or ""
            digest.update(f"{prefix}/{path} {status.st_size} {status.st_mtime_ns}\n".encode())
    return digest.hexdigest()
