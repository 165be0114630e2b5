"""Trade through a running platform and check what it says: `python -m deploy.local.smoke URL`.

Reads, two streams, a filled order, a canceled one and the way back to where it began, as any client
would do it over HTTP and WebSockets. The key comes from APCA_API_KEY_ID and APCA_API_SECRET_KEY, or
from the demo.env of OPENBELL_HOME, or of its cluster, that names this address.
"""

from __future__ import annotations

import json
import os
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from websockets.exceptions import WebSocketException
from websockets.sync.client import ClientConnection, connect

from config import environment

TIMEOUT_SECONDS = 10.0
FILL_SECONDS_MAX = 20.0
TRIES = 3  # of a GET that is answered 503: the balancer has just lost a process


class Failed(Exception):
    """The platform did not do what it should; the message says what."""


def main() -> int:
    """Returns the exit code: 0 when all is as it should be."""
    if len(sys.argv) != 2:
        print("usage: make smoke URL=http://127.0.0.1:8000", file=sys.stderr)
        return 2
    url = sys.argv[1].rstrip("/")
    try:
        Smoke(url, *_key_for(url)).run()
    except (Failed, OSError, WebSocketException) as problem:
        print(f"FAILED: {problem}", file=sys.stderr)
        return 1
    return 0


def _key_for(url: str) -> tuple[str, str]:
    known = dict(os.environ)
    home = environment.home()
    for file in (home / "demo.env", home / "cluster" / "demo.env"):
        if "APCA_API_KEY_ID" not in known and file.is_file():
            said = dict(line.split("=", 1) for line in file.read_text().splitlines() if "=" in line)
            known |= said if said.get("APCA_API_BASE_URL") == url else {}
    try:
        return known["APCA_API_KEY_ID"], known["APCA_API_SECRET_KEY"]
    except KeyError:
        raise Failed(f"no key for {url}: set APCA_API_KEY_ID and APCA_API_SECRET_KEY") from None


class Smoke:
    """One run through the platform at `url`, with the key of one account."""

    def __init__(self, url: str, key_id: str, secret: str) -> None:
        self.url = url
        self.key_id, self.secret = key_id, secret
        self.symbol = ""

    def run(self) -> None:
        self._check("it is ready", lambda: self.get("/readyz")["database"] == "ok")
        self._check("the login page is there", lambda: b"<form" in self.ask("GET", "/login"))
        self._check("a wrong key is refused", self._wrong_key_is_refused)
        self.symbol = self._pick_symbol()
        self._check(f"quotes of {self.symbol} flow", self._quotes_flow)
        updates = self._connect("/stream")
        with updates:
            self._listen(updates)
            self._trade(updates)
        print(f"All is well at {self.url}")

    # --- what is checked -------------------------------------------------------------------------

    def _trade(self, updates: ClientConnection) -> None:
        """Buy one, cancel one far from the market, sell the first: cash and position agree."""
        held, cash = self._held(), Decimal(self.get("/v2/account")["cash"])
        bought = self.order(side="buy", type="market", qty="1", time_in_force="day")
        fill = self._await(updates, bought["id"], "fill")
        self._check(f"bought 1 at {fill['price']}", lambda: self._status(bought) == "filled")
        self._check("the position grew by it", lambda: self._held() == held + 1)
        self._check("cash fell by its price", lambda: self._cash_fell(cash, fill["price"]))

        price = str((Decimal(fill["price"]) / 2).quantize(Decimal("0.01")))
        far = self.order(side="buy", type="limit", qty="1", limit_price=price, time_in_force="day")
        self._await(updates, far["id"], "new")
        self.cancel(far)
        self._await(updates, far["id"], "canceled")
        self._check("a resting order was canceled", lambda: self._status(far) == "canceled")

        sold = self.order(side="sell", type="market", qty="1", time_in_force="day")
        fill = self._await(updates, sold["id"], "fill")
        self._check(f"sold it at {fill['price']}", lambda: self._held() == held)

    def _wrong_key_is_refused(self) -> bool:
        try:
            self.ask("GET", "/v2/account", secret="wrong")
        except urllib.error.HTTPError as error:
            return error.code in (401, 403)
        return False

    def _pick_symbol(self) -> str:
        symbols = {asset["symbol"] for asset in self.get("/v2/assets?status=active")}
        if not symbols:
            raise Failed("the market trades nothing")
        return "AAPL" if "AAPL" in symbols else min(symbols)

    def _quotes_flow(self) -> bool:
        with self._connect("/v2/iex") as stream:
            stream.recv(TIMEOUT_SECONDS)  # connected
            stream.send(json.dumps({"action": "auth", "key": self.key_id, "secret": self.secret}))
            stream.send(json.dumps({"action": "subscribe", "quotes": [self.symbol]}))
            deadline = time.monotonic() + FILL_SECONDS_MAX
            while time.monotonic() < deadline:
                for message in json.loads(stream.recv(FILL_SECONDS_MAX)):
                    if message["T"] == "error":
                        raise Failed(f"the stream says {message}")
                    if message["T"] == "q" and message["S"] == self.symbol:
                        return True
        return False

    def _listen(self, updates: ClientConnection) -> None:
        auth = {"action": "auth", "key": self.key_id, "secret": self.secret}
        updates.send(json.dumps(auth))
        updates.recv(TIMEOUT_SECONDS)
        updates.send(json.dumps({"action": "listen", "data": {"streams": ["trade_updates"]}}))
        updates.recv(TIMEOUT_SECONDS)

    def _await(self, updates: ClientConnection, order_id: str, event: str) -> dict[str, Any]:
        """The trade update of that kind about that order."""
        deadline = time.monotonic() + FILL_SECONDS_MAX
        try:
            while True:
                left = deadline - time.monotonic()
                said = json.loads(updates.recv(max(left, 0.001)))["data"]
                if said.get("order", {}).get("id") == order_id and said["event"] == event:
                    return dict(said)
        except TimeoutError:
            seconds = f"{FILL_SECONDS_MAX:.0f} s"
            raise Failed(f"no update '{event}' of order {order_id} in {seconds}") from None

    def _held(self) -> Decimal:
        positions = self.get("/v2/positions")
        held = (Decimal(each["qty"]) for each in positions if each["symbol"] == self.symbol)
        return sum(held, Decimal(0))

    def _status(self, order: dict[str, Any]) -> str:
        return str(self.get(f"/v2/orders/{order['id']}")["status"])

    def _cash_fell(self, before: Decimal, price: str) -> bool:
        fell = before - Decimal(self.get("/v2/account")["cash"])
        return abs(fell - Decimal(price)) <= Decimal("0.05")  # fees, and cents are shown rounded

    def _check(self, what: str, holds: Callable[[], bool]) -> None:
        if not holds():
            raise Failed(f"not so: {what}")
        print(f"  ok  {what}")

    # --- how it is asked -------------------------------------------------------------------------

    def order(self, **fields: str) -> dict[str, Any]:
        """Place an order under a name, and under the same name again where the answer is lost."""
        body = {"symbol": self.symbol, "client_order_id": f"smoke-{uuid.uuid4()}", **fields}
        try:
            return dict(json.loads(self.ask("POST", "/v2/orders", body)))
        except urllib.error.HTTPError as error:
            if error.code != 503:
                raise Failed(f"the order was refused: {error.read().decode()}") from error
        time.sleep(1)
        name = f"/v2/orders:by_client_order_id?client_order_id={body['client_order_id']}"
        try:
            return dict(self.get(name))
        except urllib.error.HTTPError:
            return dict(json.loads(self.ask("POST", "/v2/orders", body)))

    def cancel(self, order: dict[str, Any]) -> None:
        """Cancel an order, and once more where the answer is lost."""
        for left in (True, False):
            try:
                self.ask("DELETE", f"/v2/orders/{order['id']}")
                return
            except urllib.error.HTTPError as error:
                if error.code == 422 and not left:
                    return  # the first was carried out
                if error.code != 503 or not left:
                    raise
            time.sleep(1)

    def get(self, path: str) -> Any:
        for left in reversed(range(TRIES)):
            try:
                return json.loads(self.ask("GET", path))
            except urllib.error.HTTPError as error:
                if error.code != 503 or not left:
                    raise
                time.sleep(0.5)
        raise AssertionError("unreachable")

    def ask(
        self, method: str, path: str, body: dict[str, str] | None = None, *, secret: str = ""
    ) -> bytes:
        request = urllib.request.Request(
            self.url + path,
            method=method,
            data=json.dumps(body).encode() if body else None,
            headers={
                "APCA-API-KEY-ID": self.key_id,
                "APCA-API-SECRET-KEY": secret or self.secret,
                "Content-Type": "application/json",
            },
        )
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:
            return bytes(answer.read())

    def _connect(self, path: str) -> ClientConnection:
        return connect(
            self.url.replace("http", "ws", 1) + path, open_timeout=TIMEOUT_SECONDS, max_size=None
        )


if __name__ == "__main__":
    sys.exit(main())
