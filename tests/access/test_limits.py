from __future__ import annotations

from typing import Any

import pytest

from access.limits import RequestLimit, Window
from tests.people import a_trader


def test_each_minute_starts_empty() -> None:
    window = Window()

    assert window.spend("a", now=59.0) == (1, 60)
    assert window.spend("a", now=59.9) == (2, 60)
    assert window.spend("b", now=59.9) == (1, 60)
    assert window.spend("a", now=60.0) == (1, 120)


@pytest.mark.django_db
def test_every_answer_says_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RequestLimit, "window", Window())
    client = a_trader().client()

    client.get("/v2/clock")
    answer = client.get("/v2/assets/NOSUCH")

    limit, left = (int(answer.headers[f"X-RateLimit-{name}"]) for name in ("Limit", "Remaining"))
    assert answer.status_code == 404
    assert left == limit - 2
    assert int(answer.headers["X-RateLimit-Reset"]) % 60 == 0


@pytest.mark.django_db
def test_beyond_the_limit_is_429_with_the_time_to_wait(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.RATE_LIMIT_PER_MINUTE = 2
    monkeypatch.setattr(RequestLimit, "window", Window())
    monkeypatch.setattr("access.limits.time.time", lambda: 1_000_000_000.0)
    trader = a_trader()
    client = trader.client()

    statuses = [client.get("/v2/clock").status_code for _ in range(2)]
    refused = client.get("/v2/clock")

    assert statuses == [200, 200]
    assert (refused.status_code, refused.json()["code"]) == (429, 42910000)
    assert refused.headers["X-RateLimit-Remaining"] == "0"
    assert refused.headers["Retry-After"] == "20"
    assert a_trader().client().get("/v2/clock").status_code == 200


@pytest.mark.django_db
def test_trading_and_data_are_counted_apart(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.RATE_LIMIT_PER_MINUTE = 1
    monkeypatch.setattr(RequestLimit, "window", Window())
    client = a_trader().client()

    assert client.get("/v2/clock").status_code == 200
    assert client.get("/v2/clock").status_code == 429
    assert client.get("/v2/stocks/quotes/latest?symbols=AAPL").status_code == 200
