"""Open trading screens and the programs beside them, as load: what each asks, and when.

A screen lives in real time. When it is opened it asks for `OPENING`, then for each moment of
`OPEN` again and again; its person trades now and then, and a moment after the order's first news it
asks for account and positions again, as it does for an order that fills at once. The paths and
times are those of trading/static/trading/js: sync.js, chart-data.js, trade-updates.js. Knows
nothing of Django, so that a process of its own can drive it.
"""

from __future__ import annotations

import heapq
import http.client
import itertools
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from websockets.sync.client import connect

VISIT_SECONDS = 300  # for so long a screen stays open
PORTFOLIO = ("/v2/account", "/v2/positions")
CLOCK = ("/v2/clock", "/api/market")
SNAPSHOTS = ("/v2/stocks/snapshots?symbols={symbols}",)
CHART = ("/v2/stocks/bars?symbols={symbol}&timeframe=1Min&start={start}&limit=1000&sort=desc",)
OPENING = (
    "/",
    *CLOCK,
    "/v2/calendar?start={day}&end={day}",
    *PORTFOLIO,
    "/v2/orders?status=open&limit=500",
    "/v2/orders?status=closed&limit=50",
    "/v2/assets?status=active",
    "/v2/watchlists",
    "/v2/watchlists/{watchlist}",
    *SNAPSHOTS,  # with what is held, and with what is watched
    *SNAPSHOTS,
    *CHART,
)
OPEN = {10.0: CLOCK, 30.0: PORTFOLIO, 60.0: SNAPSHOTS, 60.5: CHART}  # seconds between: paths
NEWS_SECONDS = 0.1  # a screen gathers the news of an order for so long before it asks
TIMEOUT_SECONDS = 10


@dataclass(frozen=True)
class Person:
    """Somebody with an account, and how they are let in."""

    cookie: str
    key: dict[str, str]
    words: dict[str, str]  # what stands in the braces of paths


class Asking:
    """One keep-alive connection."""

    def __init__(self, port: int, counted: Counter[str]) -> None:
        self.port, self.counted = port, counted
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_SECONDS)

    def ask(self, method: str, path: str, headers: dict[str, str], body: str | None = None) -> int:
        """The status of the answer; 0 where none came."""
        try:
            self._connection.request(method, path, body, headers)
            answer = self._connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException):
            self._connection.close()
            self.counted["unanswered"] += 1
            return 0
        name = path.partition("?")[0] if answer.status == 200 else f"refused {answer.status}"
        name = "/v2/watchlists/…" if name.startswith("/v2/watchlists/") else name
        self.counted[f"{method} {name}"] += 1
        return answer.status


@dataclass
class Load:
    """Where it goes, how much of it there is, and what came of it."""

    web: int  # ports
    stream: int
    orders: int
    people: list[Person]
    programs: list[Person]
    pin_seconds: float
    trades_per_second: float  # of one person
    orders_per_second: float  # of all
    symbols: list[str]
    threads: int = 8
    counted: Counter[str] = field(default_factory=Counter)
    traded_at: dict[int, float] = field(default_factory=dict)

    def run(self, seconds: float) -> None:
        """Screens and programs for so long."""
        until = time.monotonic() + seconds
        agenda = Agenda(self, until)
        workers: list[Callable[[], None]] = [agenda.work] * self.threads
        own = len(self.people) * self.trades_per_second
        pace = Pace(max(0.0, self.orders_per_second - own), until)
        share = [self.programs[n :: self.threads] for n in range(self.threads)]
        workers += [partial(self._trade, mine, pace) for mine in share if mine]
        threads = [threading.Thread(target=work) for work in workers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _trade(self, programs: list[Person], pace: Pace) -> None:
        asking = Asking(self.orders, self.counted)
        for program in itertools.cycle(programs):
            if not pace.wait():
                return
            place_order(asking, program, random.choice(self.symbols))


class Pace:
    """So many a second for all that wait; whoever is late goes at once."""

    def __init__(self, per_second: float, until: float) -> None:
        self.until = until
        self._between = 1 / per_second if per_second else float("inf")
        self._next = time.monotonic() + self._between
        self._lock = threading.Lock()

    def wait(self) -> bool:
        """False once it is over."""
        with self._lock:
            mine, self._next = self._next, self._next + self._between
        if mine > self.until or time.monotonic() > self.until:
            return False
        time.sleep(max(0.0, mine - time.monotonic()))
        return True


def place_order(asking: Asking, person: Person, symbol: str) -> None:
    """Buy one share at the market."""
    order = {"symbol": symbol, "qty": "1", "side": "buy", "type": "market", "time_in_force": "day"}
    headers = {**person.key, "Content-Type": "application/json"}
    asking.ask("POST", "/v2/orders", headers, json.dumps(order))


class Agenda:
    """What all screens will do next, in order of time."""

    def __init__(self, load: Load, until: float) -> None:
        self.load, self.until = load, until
        self._lock = threading.Lock()
        self._due: list[tuple[float, int, int, str, float]] = []
        self._numbers = itertools.count()
        now = time.monotonic()
        every = {"open": VISIT_SECONDS, "trade": 1 / load.trades_per_second}
        every |= {f"{seconds}": seconds for seconds in OPEN}
        for person in range(len(load.people)):
            for what, seconds in every.items():
                first = now + random.uniform(0, seconds)
                heapq.heappush(self._due, (first, next(self._numbers), person, what, seconds))

    def work(self) -> None:
        asking = Asking(self.load.web, self.load.counted)
        ordering = Asking(self.load.orders, self.load.counted)
        while True:
            with self._lock:
                due, _, person, what, seconds = heapq.heappop(self._due)
                wait = random.expovariate(1 / seconds) if what == "trade" else seconds
                again = (due + wait, next(self._numbers), person, what, seconds)
                heapq.heappush(self._due, again)
            if max(due, time.monotonic()) > self.until:
                return
            time.sleep(max(0.0, due - time.monotonic()))
            self._do(person, what, asking, ordering)

    def _do(self, number: int, what: str, asking: Asking, ordering: Asking) -> None:
        person, counted = self.load.people[number], self.load.counted
        traded_at = self.load.traded_at.get(number, float("-inf"))
        counted["moments"] += 1
        counted["moments within the pin"] += time.monotonic() - traded_at < self.load.pin_seconds
        if what == "trade":
            place_order(ordering, person, random.choice(self.load.symbols))
            self.load.traded_at[number] = time.monotonic()
            time.sleep(NEWS_SECONDS)
            paths: tuple[str, ...] = PORTFOLIO
        elif what == "open":
            self._listen(person)
            paths = OPENING
        else:
            paths = OPEN[float(what)]
        for path in paths:
            asking.ask("GET", path.format_map(person.words), {"Cookie": person.cookie})

    def _listen(self, person: Person) -> None:
        """The account's stream, as far as asking the database goes: to the acknowledgment."""
        at = f"127.0.0.1:{self.load.stream}"
        sent = {"Cookie": person.cookie, "Origin": f"http://{at}"}
        with connect(f"ws://{at}/stream", additional_headers=sent) as link:
            link.send('{"action": "listen", "data": {"streams": ["trade_updates"]}}')
            link.recv(TIMEOUT_SECONDS)
        self.load.counted["sockets"] += 1
