"""Clients of `/stream`, and what happens to the accounts that they listen to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any
from unittest.mock import patch

from events import log
from events.models import Event
from portfolios.locks import lock_account
from portfolios.models import Account
from quotes.streaming import hub as hub_module
from quotes.streaming import limits
from quotes.streaming.off_loop import off_loop
from quotes.streaming.seats import seats
from tests.people import Trader
from tests.streams import Client, connected, threads_of_its_own
from trading import delivery
from trading.streaming import announce

LISTEN = {"action": "listen", "data": {"streams": ["trade_updates"]}}
LISTENING = {"stream": "listening", "data": {"streams": ["trade_updates"]}}
AUTHORIZED = {
    "stream": "authorization",
    "data": {"status": "authorized", "action": "authenticate"},
}

open_stream = partial(connected, path="/stream")


def authenticate(trader: Trader) -> dict[str, Any]:
    return {
        "action": "authenticate",
        "data": {"key_id": trader.key_id, "secret_key": trader.secret},
    }


def whole_app() -> Any:
    """The whole of the sockets' side, with the real authenticator."""
    from config.asgi import websocket

    return websocket


@contextmanager
def nothing_left() -> Iterator[None]:
    """Threads of its own; at the end nobody listens, and nothing is kept for anybody."""
    with patch.object(limits, "FAILURE_DELAY_SECONDS_MAX", 0.0), threads_of_its_own():
        yield
    hub = hub_module.hub()
    assert not hub.sockets
    assert not hub._users
    assert not delivery.deliveries(hub)._of
    assert not delivery.deliveries(hub)._sweep.goes_on
    assert not seats().taken


def write(account: Account, count: int = 1, kind: str = "trading.order.new") -> list[Event]:
    """Events of an account, committed and not announced."""
    from django.db import transaction

    with transaction.atomic():
        locked = lock_account(account.pk)
        events = []
        for _ in range(count):
            number = locked.event_sequence + 1
            name = kind.rpartition(".")[2]
            payload = {"event": name, "timestamp": "2013-10-07T13:30:00Z", "order": {"id": number}}
            if not kind.startswith("trading.order."):
                payload = {"amount": "5"}
            events.append(log.draft(kind, actor="engine", account=locked, payload=payload))
        log.record_many(events)
        locked.save(update_fields=["event_sequence"])
    return events


async def happen(account: Account, count: int = 1) -> list[Event]:
    """Orders of the account become new, and the streams are told."""
    events = await off_loop(write, account, count)
    announce(events)
    return events


async def listen(client: Client, trader: Trader, **more: Any) -> Any:
    """Authenticate and listen; the ack."""
    assert await client.ask(authenticate(trader)) == AUTHORIZED
    data = {"streams": ["trade_updates"], **more}
    return await client.ask({"action": "listen", "data": data})


async def orders(client: Client, count: int) -> list[int]:
    """The numbers of the next updates."""
    return [(await client.hear())["data"]["order"]["id"] for _ in range(count)]


def numbers(events: list[Event]) -> list[int]:
    return [event.account_sequence or 0 for event in events]


async def hears_nothing_else(client: Client, account: Account) -> None:
    """What happens now is what the client hears next: nothing else was on its way."""
    events = await happen(account)
    assert await orders(client, 1) == numbers(events)
