"""A program that trades through the API, and what it sends."""

from __future__ import annotations

import json
from typing import Any

from django.test import Client

from access.keys import create_key
from portfolios.models import Account

LIMIT: dict[str, Any] = {
    "symbol": "AAPL",
    "qty": 1.0,
    "side": "buy",
    "type": "limit",
    "limit_price": 95.5,
    "time_in_force": "day",
}
MARKET: dict[str, Any] = {
    "symbol": "AAPL",
    "qty": "10",
    "side": "buy",
    "type": "market",
    "time_in_force": "day",
}


class Trader:
    """A program with an API key."""

    def __init__(self, account: Account) -> None:
        self.account = account
        key, secret = create_key(account_id=account.pk, user=account.user, actor="test")
        self.client = Client(headers={"APCA-API-KEY-ID": key.key_id, "APCA-API-SECRET-KEY": secret})

    def get(self, path: str, **query: Any) -> Any:
        return self.client.get(path, query)

    def delete(self, path: str) -> Any:
        return self.client.delete(path)

    def post(self, body: Any, path: str = "/v2/orders") -> Any:
        text = body if isinstance(body, str) else json.dumps(body)
        return self.client.post(path, text, content_type="application/json")

    def patch(self, path: str, body: Any) -> Any:
        text = body if isinstance(body, str) else json.dumps(body)
        return self.client.patch(path, text, content_type="application/json")

    def place(self, **changes: Any) -> dict[str, Any]:
        answer = self.post(LIMIT | changes)
        assert answer.status_code == 200, answer.content
        return answer.json()
