"""Every setting of every environment; .env.example lists what the environment may say."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from config import environment

BASE_DIR = Path(__file__).resolve().parent.parent
environment.read_env_file()

# --- where state lives -------------------------------------------------------------------------

HOME = environment.home()

FEED = environment.one_of("FEED", ("simulated", "lean", "alpaca"))
FEED_DATA = environment.text("DATA")  # lean: the folder that holds equity/usa
FEED_DATE = environment.day("DATE")  # lean: the recorded day, 2013-10-07
FEED_START = environment.time_of_day("START", default="09:29")  # New York; replay flat out to it
FEED_SPEED = environment.number("SPEED", default=1, example="60")  # market seconds per second
FEED_SEED = environment.whole("SEED", default=1)  # simulated: same seed, same market
UPSTREAM_URL = environment.stream("UPSTREAM_URL")  # alpaca: the data stream of who feeds us
UPSTREAM_KEY_ID = environment.text("UPSTREAM_KEY_ID")
UPSTREAM_SECRET_KEY = environment.text("UPSTREAM_SECRET_KEY")
FEED_SYMBOLS = environment.names("SYMBOLS")  # alpaca: what to subscribe to
FILL_MODEL = environment.one_of(
    "FILL_MODEL", ("nbbo", "instant", "queue")
)  # how orders meet quotes
FEES = environment.one_of("FEES", ("us", "none"))  # what sales cost: trading/fees.py
# Trading days after a margin call, until an account's positions are closed; 0: at once.
MARGIN_CALL_DAYS = environment.whole("MARGIN_CALL_DAYS", default=1)
TICK_RETENTION_DAYS = environment.whole("TICK_RETENTION_DAYS", default=1)  # 0 keeps no ticks
FEED_STEPPED = environment.flag("STEPPED", default=False)  # moves only on command
# How many engines share the instruments, over all execution processes.
EXECUTION_SHARDS = environment.whole("EXECUTION_SHARDS", default=1, least=1, most=16)
if EXECUTION_SHARDS > 1 and FEED_STEPPED:
    raise ImproperlyConfigured(
        "STEPPED=true gives the same orders the same fills, and has one engine. "
        "Example: EXECUTION_SHARDS=1"
    )
if EXECUTION_SHARDS > 1 and not environment.text("DATABASE_URL"):
    raise ImproperlyConfigured(
        "EXECUTION_SHARDS above 1 needs DATABASE_URL, for SQLite has one writer. "
        f"Example: DATABASE_URL={environment.MYSQL_EXAMPLE}"
    )

if FEED == "lean" and not (FEED_DATA and FEED_DATE):
    raise ImproperlyConfigured(
        "FEED=lean replays a recorded day and needs to know which. "
        "Example: FEED=lean DATA=../shared/lean DATE=2013-10-07"
    )

if FEED == "alpaca":
    environment.check_upstream(UPSTREAM_URL, UPSTREAM_KEY_ID, UPSTREAM_SECRET_KEY, FEED_SYMBOLS)

# One database holds one market: two recordings never share books.
_MARKETS = {
    "simulated": FEED_SEED,
    "lean": FEED_DATE,
    "alpaca": environment.host_of(UPSTREAM_URL).replace(":", "-"),
}
MARKET_HOME = HOME / f"{FEED}-{_MARKETS[FEED]}"
# Signatures over the event log and the key that makes them: out of reach of the database.
AUDIT_HOME = environment.folder("AUDIT_HOME", MARKET_HOME / "audit")

# --- the web ------------------------------------------------------------------------------------

DEBUG = environment.flag("DEBUG", default=False)
SECRET_KEY_FILE = HOME / "secret-key"  # the embedded launcher writes it; production sets SECRET_KEY
SECRET_KEY = environment.text("SECRET_KEY") or (
    SECRET_KEY_FILE.read_text().strip() if SECRET_KEY_FILE.is_file() else ""
)
ALLOWED_HOSTS = environment.names("ALLOWED_HOSTS", ("localhost", "127.0.0.1", "[::1]"))
CSRF_TRUSTED_ORIGINS = environment.names("CSRF_TRUSTED_ORIGINS")
ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
ASGI_APPLICATION = "config.asgi.application"
APPEND_SLASH = False  # a client of the trading API does not follow redirects
DATA_UPLOAD_MAX_MEMORY_SIZE = 64 * 1024
# For how long a stream process that is told to stop says so and goes on: until balancers know.
DRAIN_NOTICE_SECONDS = environment.whole("DRAIN_NOTICE_SECONDS", default=0)
HTTP_THREADS = environment.whole("HTTP_THREADS", default=8, least=1)  # of the embedded server
STREAM_FLUSH_MS = environment.whole("STREAM_FLUSH_MS", default=0, most=1000)

INSTALLED_APPS = [
    "events",  # before the admin, one of whose templates it changes
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "drf_spectacular",
    "quotes",
    "portfolios",
    "trading",
    "access",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "config.observability.requests.RequestName",
    "config.caching.answers.PrivateAnswers",
    "config.content_security.ContentSecurityPolicy",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "access.guessing.AskToWait",
    "access.idempotency.OnceOnly",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "access.authentication.KeyAuthentication",
        "access.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["access.authentication.HasAccount"],
    "DEFAULT_THROTTLE_CLASSES": ["access.limits.RequestLimit"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "config.api.JSONOnly",
    "DEFAULT_METADATA_CLASS": None,
    "DEFAULT_RENDERER_CLASSES": ["config.api.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["config.api.JSONParser"],
    "EXCEPTION_HANDLER": "config.api.error_response",
    "DEFAULT_SCHEMA_CLASS": "config.openapi.Schema",
    "DEFAULT_FILTER_BACKENDS": [],
    "DEFAULT_PAGINATION_CLASS": None,
    "URL_FORMAT_OVERRIDE": None,  # `?format=` is no business of an Alpaca client
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}

# Requests per minute and caller, over all processes. The default is more than one answers: whoever
# trades on their own machine meets no limit. Alpaca's is 200.
RATE_LIMIT_PER_MINUTE = environment.whole("RATE_LIMIT_PER_MINUTE", default=1_000_000, least=1)

SPECTACULAR_SETTINGS = {
    "TITLE": "Openbell",
    "DESCRIPTION": "Paper trading that you can audit, in Alpaca's wire formats.",
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
    "POSTPROCESSING_HOOKS": ["config.openapi.complete"],
    "ENUM_GENERATE_CHOICE_DESCRIPTION": False,
    "SORT_OPERATION_PARAMETERS": False,
}

# --- safety of the browser ----------------------------------------------------------------------

HTTPS = environment.flag("HTTPS", default=False)  # the outside speaks TLS, a proxy ends it
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
CSRF_FAILURE_VIEW = "config.api.csrf_failure"
SESSION_ENGINE = "django.contrib.sessions.backends.cached_db"  # a warm session costs no query
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if HTTPS else None
PROXIES = environment.networks("PROXIES")  # are believed in X-Forwarded-For
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS else 0
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"

# --- static files -------------------------------------------------------------------------------

STATIC_URL = "/static/"
STATIC_ROOT = HOME / "static"
# What npm fetched, if it could: deploy/local/setup.sh copies the served files there.
BROWSER_LIBRARIES = BASE_DIR / "deploy" / "browser" / "vendor"
STATICFILES_DIRS = [("vendor", BROWSER_LIBRARIES)] if BROWSER_LIBRARIES.is_dir() else []
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}
WHITENOISE_MAX_AGE = 0  # names without a hash; hashed ones are immutable

# --- data ---------------------------------------------------------------------------------------


def _mysql(address: dict[str, Any], *, connect: int, read: int, write: int) -> dict[str, Any]:
    """One server, and how many seconds it may take."""
    return {
        **address,
        "ENGINE": "config.databases.mysql",
        "CONN_MAX_AGE": 600,
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": {
            "charset": "utf8mb4",
            "isolation_level": "read committed",
            "connect_timeout": connect,
            "read_timeout": read,
            "write_timeout": write,
            # A lock that does not come in 2 s is answered with 503, not waited for.
            "init_command": "SET innodb_lock_wait_timeout = 2",
        },
        # The one collation that compares as SQLite does: `a` and `A` differ.
        "TEST": {"CHARSET": "utf8mb4", "COLLATION": "utf8mb4_bin"},
    }


def _databases() -> dict[str, dict[str, Any]]:
    """The primary, and its replicas as replica_1 to replica_n."""
    primary, replicas = environment.mysql("DATABASE_URL"), environment.mysql_list("REPLICA_URLS")
    if primary is not None:
        environment.check_each_server_once(primary, replicas)
        found = {"default": _mysql(primary, connect=2, read=10, write=10)}
        for number, address in enumerate(replicas, 1):
            found[f"replica_{number}"] = _mysql(address, connect=1, read=2, write=2)
        return found
    if replicas:
        raise ImproperlyConfigured(
            "REPLICA_URLS names replicas of nothing: DATABASE_URL has to name their primary. "
            f"Example: DATABASE_URL={environment.MYSQL_EXAMPLE}"
        )
    return {
        "default": {
            "ENGINE": "config.databases.sqlite",
            "NAME": MARKET_HOME / "openbell.sqlite3",
            # Threads are fixed in number and keep their connection.
            "CONN_MAX_AGE": None,
        }
    }


DATABASES = _databases()
REPLICAS = [alias for alias in DATABASES if alias != "default"]
# A replica further behind is not read from; the pin of a changed account lasts 2 s longer.
REPLICA_LAG_MAX_SECONDS = environment.number("REPLICA_LAG_MAX_SECONDS", default=2, example="2")
if REPLICAS:
    DATABASE_ROUTERS = ["config.databases.router.Router"]
    # Before whatever reads: sessions, people, views.
    _first_to_read = MIDDLEWARE.index("django.contrib.sessions.middleware.SessionMiddleware")
    MIDDLEWARE[_first_to_read:_first_to_read] = [
        "config.databases.outage.WithoutPrimary",
        "config.databases.requests.ReplicaReads",
    ]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
TIME_ZONE = "UTC"
USE_I18N = False
DATETIME_FORMAT = "Y-m-d H:i:s"  # of the admin

# --- Redis, or its stand-ins inside one process -------------------------------------------------

REDIS_URL = environment.redis("REDIS_URL")
# What must not be evicted: locks, limits, marks, the bus.
REDIS_STATE_URL = environment.redis("REDIS_STATE_URL", default=REDIS_URL)
# Of one pool in one process: as many as it has threads that ask, those that answer HTTP and the
# fixed pools beside them. Whoever finds all taken waits for one, this long at most; a refusal
# would be taken for a Redis that is away. Beside its pools a process has one
# connection more for each thread that asks for latest quotes, as orders do (`quotes.latest.redis`).
REDIS_CONNECTIONS_MAX = HTTP_THREADS + 40
REDIS_TURN_SECONDS = 1.0


def _cache(name: str, url: str, *, swallow_errors: bool) -> dict[str, Any]:
    if not url:
        return {
            "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
            "LOCATION": name,
            # Django's default of 300 would throw away locks that are held.
            "OPTIONS": {"MAX_ENTRIES": 200_000},
        }
    return {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": url,
        "KEY_PREFIX": name,
        "OPTIONS": {
            "SOCKET_CONNECT_TIMEOUT": 0.2,
            "SOCKET_TIMEOUT": 0.2,
            "CONNECTION_POOL_CLASS": "redis.connection.BlockingConnectionPool",
            "CONNECTION_POOL_KWARGS": {
                "max_connections": REDIS_CONNECTIONS_MAX,
                "timeout": REDIS_TURN_SECONDS,
            },
            "SERIALIZER": "django_redis.serializers.json.JSONSerializer",
            "IGNORE_EXCEPTIONS": swallow_errors,
        },
    }


CACHES = {
    "default": _cache("cache", REDIS_URL, swallow_errors=True),
    # Locks and limits: whoever asks must learn that Redis is away, and decide.
    "state": _cache("state", REDIS_STATE_URL, swallow_errors=False),
    # What is loaded from the database, stampede-safe; how long, config/caching/policy.py says.
    "quotes": _cache("quotes", REDIS_URL, swallow_errors=True)
    | {
        "BACKEND": "config.caching.redis_backend.SharedCache"
        if REDIS_URL
        else "config.caching.backend.LocalCache"
    },
}

if REDIS_STATE_URL:
    CHANNEL_LAYERS: dict[str, Any] = {
        "default": {
            "BACKEND": "channels_redis.core.RedisChannelLayer",
            # redis-py's default of 5 s would end every consumer that idles that long, because the
            # layer waits in a blocking pop.
            "CONFIG": {"hosts": [{"address": REDIS_STATE_URL, "socket_timeout": None}]},
        }
    }
else:
    CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}

# --- people -------------------------------------------------------------------------------------

# Wrong passwords that are heard in one window: for one name from one address, and from one address.
LOGIN_FAILURES_MAX = environment.whole("LOGIN_FAILURES_MAX", default=10, least=1)
LOGIN_FAILURES_PER_ADDRESS_MAX = environment.whole(
    "LOGIN_FAILURES_PER_ADDRESS_MAX", default=100, least=1
)
LOGIN_WINDOW_SECONDS = environment.whole("LOGIN_WINDOW_SECONDS", default=600, least=1)
AUTHENTICATION_BACKENDS = [
    "access.guessing.GuessLimit",  # before whoever looks at a password
    "django.contrib.auth.backends.ModelBackend",
]
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "screen"
LOGOUT_REDIRECT_URL = "login"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.Argon2PasswordHasher"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {
        "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
        "OPTIONS": {"min_length": 10},
    },
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]

# --- what Openbell plugs into itself ------------------------------------------------------------

# Hears, after each commit, which accounts changed: a dotted path, empty for nobody.
AFTER_COMMIT = "config.databases.pinning.accounts_changed" if REPLICAS else ""
# What a process of its own asks before it starts; raises ImproperlyConfigured.
START_CHECK = "config.databases.start.check_servers"
# Loops of the embedded process, each in a thread of its own: `run(stop: threading.Event)`.
BACKGROUND_PROCESSES = [
    "quotes.ingest.run_feed",
    "trading.execution.process.run_execution",
    "events.relay.run_relay",
]
# What `manage.py reconcile` compares: tuples of checks (portfolios/reconcile.py says what one is).
RECONCILE_CHECKS = ["portfolios.reconcile.CHECKS", "trading.reconcile.CHECKS"]

# Where feed, execution or relay as a process of its own tells its metrics; 0: nowhere.
METRICS_HOST = environment.text("METRICS_HOST", "127.0.0.1")
METRICS_PORT = environment.whole("METRICS_PORT", default=0, most=65_535)

# --- logs ---------------------------------------------------------------------------------------

LOG_LEVEL = environment.one_of("LOG_LEVEL", ("INFO", "DEBUG", "WARNING", "ERROR"))
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {"format": "{asctime} {levelname:7} {name}: {message}", "style": "{"},
    },
    "handlers": {
        "console": {"class": "logging.StreamHandler", "stream": sys.stderr, "formatter": "line"}
    },
    "root": {"handlers": ["console"], "level": "WARNING"},
    "loggers": {
        app: {"level": LOG_LEVEL}
        for app in ("config", "events", "quotes", "portfolios", "trading", "access")
    },
}
