"""Passwords that are guessed: heard so often, then not looked at, and nobody else pays for it."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable
from ipaddress import ip_network
from types import SimpleNamespace
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.test import Client, RequestFactory
from prometheus_client import REGISTRY

from access import guessing
from access.guessing import client_address
from access.tokens import COUNTS_MAX, Alone, Source
from tests.people import Trader, an_operator
from tests.waiting import PATIENCE_SECONDS

RIGHT = "sesame open"  # of whom tests/people makes
WINDOW = 1_900_000_200  # one of 600 s begins; later than now, so that Redis keeps what is counted
PAGES = ["/login", "/admin/login/"]


def redis_source(url: str = "") -> Source:
    from access.redis_tokens import RedisTokens

    return RedisTokens(url or django_settings.REDIS_URL)


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Four minutes into a window in which nothing was counted."""
    clock = SimpleNamespace(now=WINDOW + 600 * secrets.randbelow(1_000_000) + 240.0)
    monkeypatch.setattr(guessing, "time", SimpleNamespace(time=lambda: clock.now))
    if django_settings.REDIS_URL:  # which is not taken to be away where the machine is only busy
        monkeypatch.setattr("access.redis_tokens.TIMEOUT_SECONDS", PATIENCE_SECONDS)
    source = redis_source() if django_settings.REDIS_URL else Alone()
    monkeypatch.setattr(guessing, "shared_source", lambda: source)
    return clock


@pytest.fixture
def trader(db: Any) -> Trader:
    return an_operator()


def log_in(name: str, password: str = "wrong", page: str = "/login", at: str = "192.0.2.1") -> Any:
    return Client(REMOTE_ADDR=at).post(page, {"username": name, "password": password})


@pytest.mark.parametrize("page", PAGES)
def test_after_too_many_wrong_passwords_even_the_right_one_waits(
    trader: Trader, clock: Any, page: str
) -> None:
    name = trader.user.username
    heard = [log_in(name, page=page) for _ in range(10)]
    refused = log_in(name, RIGHT, page)

    assert {answer.status_code for answer in heard} == {200}
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "360")
    assert "Too many wrong passwords. Try again in 6 minutes." in refused.content.decode()
    clock.now += 359
    assert "Try again in 1 second." in log_in(name, RIGHT, page).content.decode()
    clock.now += 1
    assert log_in(name, RIGHT, page).status_code == 302


def test_who_asks_at_one_page_is_not_heard_at_the_other(trader: Trader, settings: Any) -> None:
    settings.LOGIN_FAILURES_MAX = 2
    for page in PAGES:
        log_in(trader.user.username, page=page)

    answers = [log_in(trader.user.username, RIGHT, page).status_code for page in PAGES]

    assert answers == [429, 429]


def test_a_name_is_the_same_however_it_is_written(trader: Trader, settings: Any) -> None:
    settings.LOGIN_FAILURES_MAX = 1
    name = trader.user.username
    log_in(f"  {name} ")

    assert log_in(name, RIGHT).status_code == 429


def test_right_passwords_are_not_counted(trader: Trader, settings: Any) -> None:
    settings.LOGIN_FAILURES_MAX = settings.LOGIN_FAILURES_PER_ADDRESS_MAX = 1

    assert [log_in(trader.user.username, RIGHT).status_code for _ in range(3)] == [302] * 3


def test_who_guesses_elsewhere_shuts_nobody_out(trader: Trader, settings: Any) -> None:
    settings.LOGIN_FAILURES_MAX = 2
    name = trader.user.username
    for number in range(1, 11):
        for _ in range(3):  # the third is not heard
            log_in(name, at=f"198.51.100.{number}")

    assert log_in(name, RIGHT, at="192.0.2.1").status_code == 302
    # Ten times as many were wrong in all, so that another address has one only.
    answers = [log_in(name, at="192.0.2.2").status_code for _ in range(2)]
    assert answers == [200, 429]
    assert log_in(name, RIGHT, at="192.0.2.1").status_code == 302


def test_who_tries_one_password_on_many_names_waits(trader: Trader, settings: Any) -> None:
    settings.LOGIN_FAILURES_PER_ADDRESS_MAX = 3
    for number in range(3):
        log_in(f"nobody{number}", at="2001:db8:0:1::1")

    assert log_in(trader.user.username, RIGHT, at="2001:db8:0:1::2").status_code == 429
    assert log_in(trader.user.username, RIGHT, at="2001:db8:0:2::2").status_code == 302


def test_operators_are_told_once_of_each_limit_and_never_a_name(
    trader: Trader, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.LOGIN_FAILURES_MAX, settings.LOGIN_FAILURES_PER_ADDRESS_MAX = 2, 4
    name = trader.user.username
    counters = ("openbell_login_failures_total", "openbell_login_refusals_total")
    before = [REGISTRY.get_sample_value(counter) or 0 for counter in counters]

    with caplog.at_level(logging.WARNING, logger="access.guessing"):
        for who in (*[name] * 3, *["open sesame"] * 3):
            log_in(who)

    assert [record.getMessage() for record in caplog.records if "access" in record.name] == [
        f"login: 2 wrong passwords for user:{trader.user.pk} from 192.0.2.1:"
        " no more is heard for 360 s",
        "login: 2 wrong passwords for nobody's name from 192.0.2.1: no more is heard for 360 s",
        "login: 4 wrong passwords from 192.0.2.1: no more is heard for 360 s",
    ]
    after = [REGISTRY.get_sample_value(counter) or 0 for counter in counters]
    assert [now - then for now, then in zip(after, before, strict=True)] == [4, 2]


@pytest.mark.parametrize(
    ("proxies", "peer", "forwarded", "client"),
    [
        ([], "192.0.2.1", "6.6.6.6", "192.0.2.1"),
        ([], "127.0.0.1", "6.6.6.6", "127.0.0.1"),
        (["127.0.0.1"], "127.0.0.1", "6.6.6.6, 192.0.2.1", "192.0.2.1"),
        (["127.0.0.1"], "::ffff:127.0.0.1", "192.0.2.1", "192.0.2.1"),
        (["127.0.0.1", "10.0.0.0/8"], "127.0.0.1", "6.6.6.6, 192.0.2.1,10.1.2.3", "192.0.2.1"),
        (["127.0.0.1", "10.0.0.0/8"], "127.0.0.1", "10.1.2.3", "10.1.2.3"),
        (["127.0.0.1"], "127.0.0.1", "", "127.0.0.1"),
        (["127.0.0.1"], "127.0.0.1", "unknown", "unknown"),
        (["127.0.0.1"], "192.0.2.9", "6.6.6.6", "192.0.2.9"),
    ],
)
def test_the_client_is_whom_our_own_proxies_name(
    settings: Any, proxies: list[str], peer: str, forwarded: str, client: str
) -> None:
    settings.PROXIES = [ip_network(each) for each in proxies]
    request = RequestFactory(REMOTE_ADDR=peer, headers={"X-Forwarded-For": forwarded}).get("/")

    assert client_address(request) == client


@pytest.mark.parametrize("make", [Alone, redis_source])
def test_every_source_counts_by_window(make: Callable[[], Source]) -> None:
    if make is redis_source and not django_settings.REDIS_URL:
        pytest.skip("needs a Redis: REDIS_URL")
    source, a, b = make(), secrets.token_hex(4), secrets.token_hex(4)

    assert source.count([a, b], WINDOW, 0) == [0, 0]
    assert source.count([a], WINDOW, 1) == [1]
    assert source.count([a, b], WINDOW, 1) == [2, 1]
    assert source.count([a, b], WINDOW, 0) == [2, 1]
    assert source.count([a, b], WINDOW + 600, 0) == [0, 0]


def test_processes_count_together() -> None:
    if not django_settings.REDIS_URL:
        pytest.skip("needs a Redis: REDIS_URL")
    what = secrets.token_hex(4)

    assert [redis_source().count([what], WINDOW, 1) for _ in range(3)] == [[1], [2], [3]]


def test_without_redis_a_process_counts_alone() -> None:
    source = redis_source("redis://127.0.0.1:1/0")  # nobody listens on port 1

    assert [source.count(["a"], WINDOW, 1) for _ in range(3)] == [[1], [2], [3]]


def test_what_a_process_keeps_alone_is_bounded() -> None:
    source = Alone()
    for first in range(0, 2 * COUNTS_MAX, 1000):
        source.count([str(first + number) for number in range(1000)], WINDOW, 1)

    assert len(source._counts) <= COUNTS_MAX + 1000
