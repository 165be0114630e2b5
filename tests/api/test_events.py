from __future__ import annotations

import pytest

from access.keys import create_key
from tests.people import a_trader

pytestmark = pytest.mark.django_db


def test_an_account_reads_its_own_events_in_order_from_where_it_left_off() -> None:
    trader, other = a_trader(), a_trader()
    for _ in range(3):
        create_key(account_id=trader.account.pk, user=trader.user, actor="user:1")
    client = trader.client()

    everything = client.get("/v2/events").json()
    numbers = [event["account_sequence"] for event in everything]

    assert numbers == list(range(1, len(numbers) + 1))
    assert everything[0]["kind"] == "portfolios.account.opened"
    assert all(other.account.number not in str(event) for event in everything)
    assert client.get(f"/v2/events?since={numbers[-2]}").json() == everything[-1:]
    assert client.get("/v2/events?since=2&limit=2").json() == everything[2:4]
    assert client.get(f"/v2/events?since={2**62}").json() == []
