"""Moving the market's time through the API."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.test import Client

from events.models import Event
from quotes import market
from quotes.models import MarketClock
from quotes.ticks import to_micros
from tests.api import recording
from tests.people import a_trader, an_operator

pytestmark = pytest.mark.django_db

LATER = recording.NOW + timedelta(minutes=1)


def open_market(mode: str) -> None:
    market.open_market(mode=mode, source="lean-2013-10-07", start_us=to_micros(recording.NOW))


def post(client: Client, path: str, body: Any = None) -> Any:
    return client.post(f"/api/market/{path}", body or {}, content_type="application/json")


def settle(to: datetime) -> None:
    """What feed and engine do in earnest: play to an instant and commit what follows."""
    MarketClock.objects.update(watermark_us=to_micros(to), settled_us=to_micros(to))


def test_replay_is_paused_sped_up_and_resumed_by_an_operator(
    django_capture_on_commit_callbacks: Any,
) -> None:
    open_market("replay")
    operator = an_operator()
    client = operator.client()

    with django_capture_on_commit_callbacks(execute=True):
        assert post(client, "pause").status_code == 200
    with django_capture_on_commit_callbacks(execute=True):
        assert post(client, "speed", {"speed": 60}).status_code == 200

    assert client.get("/api/market").json() == {
        "mode": "replay",
        "source": "lean-2013-10-07",
        "speed": 60.0,
        "paused": True,
        "timestamp": "2013-10-07T14:05:00Z",
    }
    with django_capture_on_commit_callbacks(execute=True):
        assert post(client, "resume").status_code == 200
    assert client.get("/api/market").json()["paused"] is False
    actors = set(Event.objects.filter(subject="market").values_list("actor", flat=True))
    assert f"operator:{operator.user.pk}" in actors


def test_advance_answers_once_all_is_settled(monkeypatch: pytest.MonkeyPatch) -> None:
    open_market("stepped")
    monkeypatch.setattr(market.time, "sleep", lambda _: settle(LATER))

    answer = post(an_operator().client(), "advance", {"to": LATER.isoformat()})

    assert (answer.status_code, answer.json()) == (200, {"settled_at": "2013-10-07T14:06:00Z"})


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("advance", {}),
        ("advance", {"to": None}),
        ("advance", {"to": 7}),
        ("advance", {"to": "soon"}),
        ("advance", {"to": ["2013-10-07T14:06:00Z"]}),
        ("advance", {"to": "2013-10-07T14:00:00Z"}),
        ("advance", {"to": "2093-10-07T14:00:00Z"}),
        ("jump", {"to": "2013-10-07T14:06:00Z"}),  # not of a stepped market
        ("pause", {}),
        ("speed", {}),
        ("speed", {"speed": 0}),
        ("speed", {"speed": "NaN"}),
        ("speed", {"speed": "Infinity"}),
        ("speed", {"speed": 10**6}),
        ("speed", {"speed": [1]}),
    ],
)
def test_nonsense_is_422_and_moves_nothing(path: str, body: Any) -> None:
    open_market("stepped")
    before = MarketClock.objects.values().get()

    answer = post(an_operator().client(), path, body)

    assert answer.status_code == 422, answer.content
    assert answer.json()["code"] in (40010001, 42210000)
    assert MarketClock.objects.values().get() == before


@pytest.mark.parametrize("path", ["advance", "jump", "pause", "resume", "speed"])
def test_only_operators_move_the_market(path: str) -> None:
    open_market("replay")
    before = MarketClock.objects.values().get()

    as_trader = post(a_trader().client(), path, {"to": LATER.isoformat(), "speed": 2})
    as_stranger = post(Client(), path)

    assert (as_trader.status_code, as_trader.json()["code"]) == (403, 40310000)
    assert (as_stranger.status_code, as_stranger.json()["code"]) == (401, 40110000)
    assert MarketClock.objects.values().get() == before


def test_without_a_market_there_is_nothing_to_move() -> None:
    answer = post(an_operator().client(), "pause")

    assert (answer.status_code, answer.json()["code"]) == (503, 50310000)
