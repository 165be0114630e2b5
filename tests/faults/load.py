"""Clients that trade and read through the edge without pause, and write down every answer."""

from __future__ import annotations

import http.client
import json
import random
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

CLIENT_SECONDS_MAX = 30.0  # a client gives up; far beyond whatever the platform may take
PAUSE_SECONDS = 0.03
AFTER_TROUBLE_SECONDS = 0.1
RESTING_MAX = 20  # limit orders that a trader leaves in the book
SYMBOLS = ("AAPL", "MSFT", "NVDA")
RESTING = SYMBOLS[1:]  # a buy that rests would stand in the way of the account's own sales
# What may be refused for a reason: a market order without a usable quote, and a sale of what an
# earlier one, not yet filled, has spoken for or is still buying.
REFUSED_WELL = frozenset({42210000, 40310000})

WRITE, ACCOUNT, MARKET, PUBLIC = "write", "account", "market", "public"

# What a program asks of no account, and what anybody may ask.
MARKET_READS = (
    "/v2/stocks/quotes/latest?symbols=AAPL,MSFT",
    "/v2/stocks/trades/latest?symbols=AAPL,NVDA",
    "/v2/stocks/AAPL/snapshot",
    "/v2/stocks/bars?symbols=AAPL&timeframe=1Day&limit=5",
    "/v2/assets/MSFT",
    "/v2/clock",
)
PUBLIC_READS = ("/public/quotes?symbols=AAPL,MSFT", "/public/market")
ACCOUNT_READS = (
    "/v2/account",
    "/v2/positions",
    "/v2/orders?status=open&limit=50",
    "/v2/account/activities?page_size=20",
)


@dataclass(frozen=True)
class Person:
    """Somebody with an account and a key to it."""

    account_id: int
    key_id: str
    secret: str

    @property
    def headers(self) -> dict[str, str]:
        return {"APCA-API-KEY-ID": self.key_id, "APCA-API-SECRET-KEY": self.secret}


@dataclass(frozen=True)
class Answer:
    """What a client was told, or was not: then the status is 0."""

    asked_at: float  # monotonic seconds
    seconds: float
    kind: str
    asked: str  # method and path
    status: int
    code: int = 0  # of an error's body
    body: Any = field(default=None, repr=False)

    @property
    def answered_at(self) -> float:
        return self.asked_at + self.seconds

    @property
    def is_trouble(self) -> bool:
        """Whether the platform failed to do what it was asked."""
        return self.status == 0 or self.status >= 500


@dataclass
class Asked:
    """An order that a client asked for, and what it was told of it."""

    account_id: int
    name: str  # client_order_id
    type: str
    status: int  # of the answer; 200 is an acknowledgement, 0 none at all
    canceled: str = ""  # "yes" acknowledged, "perhaps" asked for without an answer, "" not asked

    @property
    def acknowledged(self) -> bool:
        return self.status == 200


class Client:
    """A connection that is kept, as a program's is, and opened anew after trouble."""

    def __init__(self, port: int, person: Person | None, record: Callable[[Answer], None]) -> None:
        self._port = port
        self._headers = {"Content-Type": "application/json", **(person.headers if person else {})}
        self._record = record
        self._connection: http.client.HTTPConnection | None = None

    def ask(self, kind: str, method: str, path: str, body: Any = None) -> Answer:
        asked_at = time.monotonic()
        status, content = 0, None
        try:
            status, content = self._exchange(method, path, body)
        except (OSError, http.client.HTTPException):
            self.close()
        code = content.get("code", 0) if status >= 400 and isinstance(content, dict) else 0
        seconds = time.monotonic() - asked_at
        answer = Answer(asked_at, seconds, kind, f"{method} {path}", status, code, content)
        self._record(answer)
        return answer

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _exchange(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        if self._connection is None:
            self._connection = http.client.HTTPConnection(
                "127.0.0.1", self._port, timeout=CLIENT_SECONDS_MAX
            )
        sent = None if body is None else json.dumps(body)
        self._connection.request(method, path, sent, self._headers)
        answer = self._connection.getresponse()
        text = answer.read()
        is_json = "json" in answer.headers.get("Content-Type", "")
        return answer.status, json.loads(text) if is_json and text else text


class Load:
    """Traders, a reader and a listener, at work from `start` to `stop`; `pause` lets them rest."""

    def __init__(self, port: int, people: list[Person], *, begin_with: int) -> None:
        self._port = port
        self.people = people
        self.answers: list[Answer] = []
        self.orders: list[Asked] = []
        self.wrong: list[str] = []  # what no client may ever be told
        self.listener = Listener(port, people[0])
        self._going = self._stopped = False
        self._at_work = 0
        self._changed = threading.Condition()
        traders = [self._thread(self._trade, each) for each in people]
        self._threads = [self._thread(self._read, people[-1]), *traders[:begin_with]]
        self._more = traders[begin_with:]

    def start(self) -> None:
        self._going = True
        for thread in self._threads:
            thread.start()
        self.listener.start()

    def grow(self) -> None:
        """Let all people trade, where only some did."""
        for thread in self._more:
            thread.start()
        self._threads += self._more
        self._more = []

    def stop(self) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(CLIENT_SECONDS_MAX + 1)
        self.listener.stop()

    def pause(self) -> None:
        """Have nobody ask anything; returns when the last answer was given."""
        with self._changed:
            self._going = False
            rests = self._changed.wait_for(lambda: not self._at_work, CLIENT_SECONDS_MAX + 1)
        assert rests, "a client waits beyond all bounds"

    def go_on(self) -> None:
        with self._changed:
            self._going = True
            self._changed.notify_all()

    def since(self, moment: float, *kinds: str, until: float | None = None) -> list[Answer]:
        """Answers to what was asked from a moment on, of these kinds, or of any."""
        return [
            answer
            for answer in list(self.answers)
            if answer.asked_at >= moment
            and (until is None or answer.asked_at <= until)
            and (not kinds or answer.kind in kinds)
        ]

    def _trade(self, person: Person) -> None:
        client, resting, held = self.client(person), 0, 0
        for _ in self._turns():
            held += self._take_market(client, person, "sell" if held else "buy")
            client.ask(ACCOUNT, "GET", random.choice(ACCOUNT_READS))
            resting += self._rest(client, person, leave=resting < RESTING_MAX)
            client.ask(MARKET, "GET", random.choice(MARKET_READS))
        client.close()

    def _read(self, person: Person) -> None:
        client, anybody = self.client(person), self.client(None)
        for _ in self._turns():
            client.ask(MARKET, "GET", random.choice(MARKET_READS))
            anybody.ask(PUBLIC, "GET", random.choice(PUBLIC_READS))
        client.close()
        anybody.close()

    def _take_market(self, client: Client, person: Person, side: str) -> int:
        """A market order for one share; how the holding changes."""
        order = self.submit(client, person, side=side, type="market")
        return {"buy": 1, "sell": -1}[side] if order.acknowledged else 0

    def _rest(self, client: Client, person: Person, *, leave: bool) -> int:
        """A limit order far from the market, found by its name, and mostly canceled."""
        order = self.submit(client, person, side="buy", type="limit", limit_price="1.00")
        if not order.acknowledged:
            return 0
        path = f"/v2/orders:by_client_order_id?client_order_id={order.name}"
        found = client.ask(ACCOUNT, "GET", path)
        if found.status == 404:
            self.wrong.append(f"{order.name} was acknowledged and is not found")
        if found.status != 200 or (leave and random.random() < 0.1):
            return 1
        order.canceled = "perhaps"
        canceled = client.ask(WRITE, "DELETE", f"/v2/orders/{found.body['id']}")
        if canceled.status == 204:
            order.canceled = "yes"
        elif canceled.status == 404:
            self.wrong.append(f"{order.name} was shown and cannot be canceled")
        return 0

    def submit(self, client: Client, person: Person, **fields: str) -> Asked:
        name = f"load-{uuid.uuid4()}"
        symbol = random.choice(RESTING) if fields["type"] == "limit" else SYMBOLS[0]
        body = {"symbol": symbol, "qty": "1", "time_in_force": "gtc", "client_order_id": name}
        answer = client.ask(WRITE, "POST", "/v2/orders", body | fields)
        order = Asked(person.account_id, name, fields["type"], answer.status)
        self.orders.append(order)
        return order

    def _thread(self, work: Callable[[Person], None], person: Person) -> threading.Thread:
        def noted() -> None:
            try:
                work(person)
            except Exception as error:
                self.wrong.append(f"a client broke off: {error!r}")
                raise

        return threading.Thread(target=noted, daemon=True)

    def client(self, person: Person | None) -> Client:
        return Client(self._port, person, self._take_down)

    def _take_down(self, answer: Answer) -> None:
        self.answers.append(answer)
        if answer.is_trouble:
            time.sleep(AFTER_TROUBLE_SECONDS)
        if answer.status >= 400 and not _is_expected(answer):
            self.wrong.append(f"{answer.asked} was answered {answer.status} {answer.body}")

    def _turns(self) -> Iterator[None]:
        """A turn after the other, none of them while the load rests."""
        while True:
            time.sleep(PAUSE_SECONDS)
            with self._changed:
                self._changed.wait_for(lambda: self._going or self._stopped)
                if self._stopped:
                    return
                self._at_work += 1
            try:
                yield
            finally:
                with self._changed:
                    self._at_work -= 1
                    self._changed.notify_all()


def _is_expected(answer: Answer) -> bool:
    """Whether an error may be, whatever the fault; 404 is judged by whoever asked."""
    return answer.status in (404, 503) or answer.code in REFUSED_WELL


class Listener:
    """Hears an account's trade updates, and connects again, from where it was, when cut off."""

    def __init__(self, port: int, person: Person) -> None:
        self.person = person
        self.heard: dict[int, dict[str, Any]] = {}  # by account_sequence
        self.begun_after: int | None = None
        self.connections = 0
        self.wrong: list[str] = []
        self._url = f"ws://127.0.0.1:{port}/stream?honest=1"
        self._last: int | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._listen_on, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(CLIENT_SECONDS_MAX)

    def _listen_on(self) -> None:
        while not self._stop.is_set():
            try:
                self._listen()
            except (WebSocketException, OSError, TimeoutError):
                self._stop.wait(0.1)

    def _listen(self) -> None:
        with connect(self._url, additional_headers=self.person.headers, open_timeout=5) as socket:
            since = {} if self._last is None else {"since": self._last}
            data = {"streams": ["trade_updates"], **since}
            socket.send(json.dumps({"action": "listen", "data": data}))
            self.connections += 1
            while not self._stop.is_set():
                try:
                    self._take(json.loads(socket.recv(0.5)))
                except TimeoutError:
                    continue

    def _take(self, message: dict[str, Any]) -> None:
        data = message["data"]
        if message["stream"] == "listening" and self.begun_after is None:
            self.begun_after = self._last = data["account_sequence"]
        if message["stream"] != "trade_updates":
            return
        number = data["account_sequence"]
        if self._last is not None and number < self._last:
            self.wrong.append(f"update {number} came after {self._last}")
        self._last = number
        self.heard[number] = data
