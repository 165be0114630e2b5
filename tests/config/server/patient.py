"""The busy application, whose requests may wait for a thread for as long as a test takes."""

from __future__ import annotations

from config.server import gunicorn_worker
from tests.config.server.busy import application

__all__ = ["application"]

gunicorn_worker.WAIT_SECONDS_MAX = 60.0
