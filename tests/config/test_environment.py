"""What the environment may say, and how a mistake in it is told."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from config import environment

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("read", "value", "example"),
    [
        (lambda: environment.flag("X", default=False), "maybe", "X=true"),
        (lambda: environment.whole("X", default=8000), "eight", "X=8000"),
        (lambda: environment.whole("X", default=8000, least=1), "0", "X=8000"),
        (lambda: environment.whole("X", default=1, least=1, most=16), "17", "X=1"),
        (lambda: environment.number("X", default=1, example="60"), "fast", "X=60"),
        (lambda: environment.number("X", default=1, example="60"), "-1", "X=60"),
        (lambda: environment.number("X", default=1, example="60"), "nan", "X=60"),
        (lambda: environment.number("X", default=1, example="60"), "inf", "X=60"),
        (lambda: environment.day("X"), "yesterday", "X=2013-10-07"),
        (lambda: environment.day("X"), "2013-02-30", "X=2013-10-07"),
        (lambda: environment.time_of_day("X", default="09:29"), "noonish", "X=09:29"),
        (lambda: environment.one_of("X", ("a", "b")), "c", "X=a"),
        (lambda: environment.folder("X", Path("audit")), __file__, "X=audit"),
        (lambda: environment.networks("X"), "10.0.0.0/8,balancer", "X=127.0.0.1"),
        (lambda: environment.networks("X"), "10.0.0.1/8", "X=127.0.0.1"),
        (lambda: environment.mysql("X"), "db.example.com", "X=mysql://"),
        (lambda: environment.mysql("X"), "postgres://u:p@h/db", "X=mysql://"),
        (lambda: environment.mysql("X"), "mysql://u:p@h:port/db", "X=mysql://"),
        (lambda: environment.mysql("X"), "mysql://u:p@h", "X=mysql://"),
        (lambda: environment.mysql("X"), "mysql://[::1/db", "X=mysql://"),
        (lambda: environment.mysql_list("X"), "mysql://u:p@h/db,db.example.com", "X=mysql://"),
        (lambda: environment.stream("X"), "http://h/v2/iex", "X=ws://"),
        (lambda: environment.stream("X"), "ws://h:8000", "X=ws://"),
        (lambda: environment.redis("X"), "localhost:6379", "X=redis://"),
        (lambda: environment.redis("X"), "redis://", "X=redis://"),
        (lambda: environment.redis("X"), "redis+sentinel://h:6379/0", "X=redis://"),
    ],
)
def test_a_malformed_value_names_itself_and_a_right_one(monkeypatch, read, value, example):
    monkeypatch.setenv("X", value)

    with pytest.raises(ImproperlyConfigured) as refused:
        read()

    assert "The environment variable X " in str(refused.value)
    assert example in str(refused.value)


@pytest.mark.parametrize(
    ("read", "value", "problem"),
    [
        (environment.mysql, "mysql://u:p@h:3306", "names no database"),
        (environment.mysql, "mysql://u:p@h:3306/", "names no database"),
        (environment.mysql, "mysql://u:p@h/db/more", "more than a database"),
        (environment.mysql, "mysql://h/db", "names no user"),
        (environment.mysql, "mysql://u:p@/db", "a host"),
        (environment.mysql, "mysql://u:p@h:0/db", "no port"),
        (environment.mysql, "mysql://u:p@h:70000/db", "no port"),
        (environment.mysql, "mysql://u:p@h:33o6/db", "no port"),
        (environment.mysql, "mysql://u:p@h/db?charset=latin1", "takes none"),
        (environment.mysql, "mysql://u:p@h/my db", "a space"),
        (environment.mysql, "mysql://u:p#1@h/db", "%23"),
        (environment.mysql, "mysql://u:p/1@h/db", "%2F"),
        (environment.mysql_list, "mysql://u:p@h/db mysql://u:p@h2/db", "separated by commas"),
        (environment.mysql_list, "mysql://u:p@h/db,mysql://u:p@h2", "names no database"),
        (environment.redis, "redis://h:6379/first", "than a number"),
        (environment.redis, "redis://h:6379/0/1", "than a number"),
        (environment.redis, "redis://h:99999/0", "no port"),
        (environment.redis, "redis://h:6379/0?timeout=3", "redis:// has none"),
        (environment.redis, "rediss://h:6379/0?db=3", "ssl_ca_certs"),
        (environment.redis, "redis://one two:6379/0", "a space"),
        (environment.redis, "unix://", "no socket"),
        (environment.redis, "unix:///run/redis.sock?db=first", "db that is not a number"),
    ],
)
def test_an_address_is_told_what_is_wrong_with_it(monkeypatch, read, value, problem):
    monkeypatch.setenv("X", value)

    with pytest.raises(ImproperlyConfigured) as refused:
        read("X")

    assert problem in str(refused.value)
    assert "Example: X=" in str(refused.value)


@pytest.mark.parametrize(
    "value",
    [
        "redis://cache:6379/0",
        "redis://cache",
        "redis://:secret@cache:6380/15",
        "rediss://name:s%2Fcret@cache:6379/1?ssl_cert_reqs=required",
        "unix:///run/redis.sock?db=2",
    ],
)
def test_a_good_redis_address_stays_as_it_is(monkeypatch, value):
    monkeypatch.setenv("X", value)

    assert environment.redis("X") == value


@pytest.mark.parametrize(
    "value",
    [
        "postgres://user:hunter2@host/db",
        "mysql://user:hunter2#@host/db",
        "mysql://user:hunter2/1@host/db",
        "mysql://user:hunter2?@host/db",
        "mysql://user:hunter2 @host/db",
        "mysql://user:hunter2@[::1/db",
        "mysql://user:hunter2@host:hunter2/db",
    ],
)
def test_a_password_is_not_shown(monkeypatch, value):
    monkeypatch.setenv("X", value)

    with pytest.raises(ImproperlyConfigured) as refused:
        environment.mysql("X")

    assert "hunter2" not in str(refused.value)
    assert refused.value.__cause__ is None  # no traceback shows it either


@pytest.mark.parametrize("value", ["", "  "])
def test_empty_is_not_set(monkeypatch, value):
    monkeypatch.setenv("X", value)

    assert environment.text("X", "default") == "default"
    assert environment.flag("X", default=True) is True
    assert environment.whole("X", default=5) == 5
    assert environment.mysql("X") is None
    assert environment.names("X", ("a",)) == ["a"]


def test_a_database_address_is_taken_apart(monkeypatch):
    monkeypatch.setenv("X", "mysql://open%20bell:p%40ss%2Fword@db.example.com:3307/openbell")

    assert environment.mysql("X") == {
        "NAME": "openbell",
        "USER": "open bell",
        "PASSWORD": "p@ss/word",
        "HOST": "db.example.com",
        "PORT": 3307,
    }


@pytest.mark.parametrize(
    ("urls", "problem"),
    [
        ("mysql://u:p@DB/openbell", "names db:3306, which is the primary"),
        ("mysql://u:p@r/openbell,mysql://v:q@r:3306/openbell", "names r:3306 twice"),
    ],
)
def test_each_server_is_named_once(urls, problem):
    printed = settings_with(DATABASE_URL="mysql://u:p@db:3306/openbell", REPLICA_URLS=urls).stderr

    assert f"The environment variable REPLICA_URLS {problem}" in printed
    assert "Example: REPLICA_URLS=mysql://" in printed


def settings_with(**variables: str) -> subprocess.CompletedProcess[str]:
    """Load the settings in a process of their own."""
    names = "ALLOWED_HOSTS, DATABASES, CACHES, CHANNEL_LAYERS, MARKET_HOME, SECRET_KEY"
    return subprocess.run(
        [sys.executable, "-c", f"from config.settings import {names}; print([{names}])"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "OPENBELL_ENV_FILE": os.devnull, **variables},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_without_an_environment_everything_is_in_one_process(tmp_path):
    printed = settings_with(OPENBELL_HOME=str(tmp_path)).stdout

    assert "config.databases.sqlite" in printed
    assert "LocMemCache" in printed
    assert "InMemoryChannelLayer" in printed
    assert f"{tmp_path}/simulated-1'" in printed
    assert list(tmp_path.iterdir()) == []  # looking at settings stores nothing


def test_with_servers_named_nothing_is_in_one_process():
    printed = settings_with(
        DATABASE_URL="mysql://u:p@db:3306/openbell", REDIS_URL="redis://cache:6379/0"
    ).stdout

    assert "config.databases.mysql" in printed
    assert "read committed" in printed
    assert "LocMemCache" not in printed
    assert "'socket_timeout': None" in printed


def test_each_market_has_a_home_of_its_own(tmp_path):
    replay = {"FEED": "lean", "DATA": "somewhere", "DATE": "2013-10-07"}

    assert "lean-2013-10-07" in settings_with(OPENBELL_HOME=str(tmp_path), **replay).stdout
    assert "simulated-7" in settings_with(OPENBELL_HOME=str(tmp_path), SEED="7").stdout


def test_a_replay_that_is_not_told_which_day_says_so():
    assert "FEED=lean DATA=../shared/lean DATE=2013-10-07" in settings_with(FEED="lean").stderr


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({"EXECUTION_SHARDS": "0"}, "EXECUTION_SHARDS is below 1"),
        ({"EXECUTION_SHARDS": "17"}, "EXECUTION_SHARDS is above 16"),
        ({"EXECUTION_SHARDS": "two"}, "EXECUTION_SHARDS is not a whole number"),
        ({"EXECUTION_SHARDS": "2"}, "EXECUTION_SHARDS above 1 needs DATABASE_URL"),
        (
            {"EXECUTION_SHARDS": "2", "STEPPED": "1", "DATABASE_URL": "mysql://u:p@h/db"},
            "STEPPED=true gives the same orders the same fills, and has one engine",
        ),
    ],
)
def test_shards_that_cannot_be_are_refused(variables, sentence):
    assert sentence in settings_with(**variables).stderr


def test_no_secret_is_made_up(tmp_path):
    """Of several web processes each would make up another."""
    assert ", '']" in settings_with(OPENBELL_HOME=str(tmp_path)).stdout
    (tmp_path / "secret-key").write_text("kept\n")
    assert "'kept'" in settings_with(OPENBELL_HOME=str(tmp_path)).stdout


def test_an_env_file_is_read_and_the_environment_wins(tmp_path):
    file = tmp_path / "env"
    file.write_text("SEED=3\nALLOWED_HOSTS=from.file.example\n")

    printed = settings_with(OPENBELL_ENV_FILE=str(file), SEED="4").stdout

    assert "simulated-4" in printed
    assert "from.file.example" in printed


def test_replicas_of_nothing_are_refused():
    done = subprocess.run(
        [sys.executable, "-c", "import config.settings"],
        cwd=ROOT,
        env={
            **{key: value for key, value in os.environ.items() if key != "DATABASE_URL"},
            "OPENBELL_ENV_FILE": os.devnull,
            "REPLICA_URLS": "mysql://u:p@h:3306/db",
        },
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.returncode != 0
    assert "REPLICA_URLS names replicas of nothing" in done.stderr
    assert "Example: DATABASE_URL=mysql://" in done.stderr


ALPACA = "wss://stream.data.alpaca.markets/v2/iex"


@pytest.mark.parametrize(
    ("upstream", "wanting"),
    [
        (("", "K", "s", []), "needs to know which"),
        (("ws://h:8000/v2/iex", "", "s", []), "a key for it"),
        (("ws://h:8000/v2/iex", "K", "", []), "a key for it"),
        ((ALPACA, "K", "s", []), "SYMBOLS=AAPL"),
    ],
)
def test_a_feed_from_elsewhere_says_what_it_wants(upstream, wanting):
    with pytest.raises(ImproperlyConfigured, match=wanting):
        environment.check_upstream(*upstream)


def test_a_feed_from_elsewhere_that_has_all_it_wants():
    environment.check_upstream("ws://h:8000/v2/iex", "K", "s", [])
    environment.check_upstream(ALPACA, "K", "s", ["AAPL"])
    assert environment.host_of("ws://h:8000/v2/iex") == "h:8000"
