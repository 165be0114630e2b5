"""Settings of the test suite: the real ones, with a home and a database of their own.

SQLite in a temporary folder unless DATABASE_URL names a MySQL or MariaDB; in-process cache and
bus unless REDIS_URL names a Redis. `make test` sets both where it can.
"""

import atexit
import os
import shutil
import tempfile

# The folder goes when the process does; one per process, so that two runs never meet.
_home = tempfile.mkdtemp(prefix="openbell-")
atexit.register(shutil.rmtree, _home, ignore_errors=True)
os.environ["OPENBELL_HOME"] = _home
os.environ["OPENBELL_ENV_FILE"] = os.devnull  # what a developer keeps in .env is not under test
os.environ["SECRET_KEY"] = "only-for-tests"

from config.settings import *  # noqa: F403
from config.settings import DATABASES, HOME

if DATABASES["default"]["ENGINE"] == "config.databases.sqlite":
    DATABASES["default"]["TEST"] = {"NAME": str(HOME / "test.sqlite3")}
else:
    DATABASES["default"]["TEST"]["NAME"] = f"test_openbell_{os.getpid()}"
FEES = "none"  # so that amounts are round; what is about fees asks for them
STATIC_ROOT = HOME / "static"
STATIC_ROOT.mkdir()  # empty, but WhiteNoise looks
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # fast, and only here
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    # Hashed names need collectstatic; the launcher's own test runs the real storage.
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
