"""Settings of the test suite: the real ones, with a database and a home of their own."""

import os
import tempfile

os.environ.setdefault("OPENBELL_HOME", tempfile.mkdtemp(prefix="openbell-"))
os.environ.setdefault("SECRET_KEY", "only-for-tests")

from config.settings import *  # noqa: F403
from config.settings import DATABASES, HOME

if "sqlite" in DATABASES["default"]["ENGINE"]:
    DATABASES["default"]["TEST"] = {"NAME": str(HOME / f"test-{os.getpid()}.sqlite3")}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
