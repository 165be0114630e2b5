"""Trade a day step by step, more than once: the books must prove, the fills must agree.

    python -m benchmarks.stepped_day --data ../shared/lean --orders 2000 --seed 7 --runs 2

Each run starts an Openbell of its own on the recording (or with `--feed simulated` on a simulated
day, which needs no data), stepped, places the same seeded orders
between the steps, and at the end prints what happened, what `manage.py reconcile` and
`manage.py verify_fills` say and the SHA-256 of `manage.py export_fills`. It exits with 1 where
books, certificates or digests differ.
"""

from __future__ import annotations

import argparse
import hashlib
import http.client
import json
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from tests.running import ROOT, RunningPlatform

SYMBOLS = ("AIG", "BAC", "IBM", "SPY")
STEP = timedelta(minutes=3)
REQUEST_SECONDS_MAX = 120.0


@dataclass
class Client:
    """One keep-alive connection that speaks the trading API."""

    platform: RunningPlatform
    connection: http.client.HTTPConnection = field(init=False)

    def __post_init__(self) -> None:
        self.connection = http.client.HTTPConnection(
            "127.0.0.1", self.platform.port, timeout=REQUEST_SECONDS_MAX
        )

    def request(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        self.connection.request(
            method,
            path,
            json.dumps(body) if body is not None else None,
            {
                "APCA-API-KEY-ID": self.platform.key,
                "APCA-API-SECRET-KEY": self.platform.secret,
                "Content-Type": "application/json",
            },
        )
        answer = self.connection.getresponse()
        content = answer.read()
        return answer.status, json.loads(content) if content else None


@dataclass
class Script:
    """The seeded trader: the same seed on the same market sends the same orders."""

    client: Client
    seed: int
    answers: Counter[str] = field(default_factory=Counter)
    placed: int = 0

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)

    def trade(self, orders: int) -> None:
        """Place this step's orders and cancel a few that rest."""
        _, answer = self.client.request(
            "GET", "/v2/stocks/quotes/latest?symbols=" + ",".join(SYMBOLS)
        )
        _, positions = self.client.request("GET", "/v2/positions")
        held = {position["symbol"] for position in positions}
        for _ in range(orders):
            self.place(answer["quotes"], held)
        self.cancel_some()

    def place(self, quotes: dict[str, Any], held: set[str]) -> None:
        symbol = self.chance.choice(SYMBOLS)
        order: dict[str, Any] = {
            "symbol": symbol,
            "side": self.chance.choice(("buy", "sell")) if symbol in held else "buy",
            "time_in_force": "day",
            "client_order_id": f"{self.seed}-{self.placed}",
        }
        self.placed += 1
        kind = self.chance.random()
        if kind < 0.15:
            order |= {"type": "market", "notional": str(self.chance.randint(1, 2_000))}
        elif kind < 0.35:
            order |= {"type": "market", "qty": str(self.chance.randint(1, 30))}
        elif kind < 0.5:
            order |= self.stop(symbol, quotes)
        elif kind < 0.55:
            order |= {"type": "market", "qty": "10", "time_in_force": "cls"}
        else:
            order |= self.limit(symbol, quotes)
        status, answer = self.client.request("POST", "/v2/orders", order)
        message = answer.get("message", "accepted")
        self.answers[f"{status} {message.partition(' (')[0]}"] += 1

    def limit(self, symbol: str, quotes: dict[str, Any]) -> dict[str, Any]:
        return {
            "type": "limit",
            "qty": str(self.chance.randint(1, 60)),
            "limit_price": self.near(symbol, quotes),
            "time_in_force": self.chance.choice(("day", "gtc", "ioc", "fok")),
        }

    def stop(self, symbol: str, quotes: dict[str, Any]) -> dict[str, Any]:
        """A stop near the market, of one of the three types."""
        kind = self.chance.choice(("stop", "stop_limit", "trailing_stop"))
        order = {"type": kind, "qty": str(self.chance.randint(1, 30))}
        if kind == "trailing_stop":
            return order | {"trail_percent": f"{self.chance.uniform(0.02, 0.2):.4f}"}
        if kind == "stop_limit":
            order["limit_price"] = self.near(symbol, quotes)
        return order | {"stop_price": self.near(symbol, quotes)}

    def near(self, symbol: str, quotes: dict[str, Any]) -> str:
        """A price in whole cents about the middle of the market."""
        quote = quotes.get(symbol)
        middle = (quote["ap"] + quote["bp"]) / 2 if quote else 50.0
        return f"{max(middle * (1 + self.chance.gauss(0, 0.001)), 0.01):.2f}"

    def cancel_some(self) -> None:
        _, resting = self.client.request("GET", "/v2/orders?status=open&limit=500&direction=asc")
        for order in resting:
            if self.chance.random() < 0.3:
                self.client.request("DELETE", f"/v2/orders/{order['id']}")


@dataclass
class Run:
    """What one day came to."""

    orders: int
    answers: Counter[str]
    fills: int
    digest: str
    books: str
    balanced: bool
    seconds: float


def command(platform: RunningPlatform, *words: str) -> subprocess.CompletedProcess[str]:
    """A management command beside the running platform, on the same books."""
    return subprocess.run(
        [sys.executable, "manage.py", *words],
        cwd=ROOT,
        env=platform.environment(),
        capture_output=True,
        text=True,
        check=False,
    )


def play(arguments: argparse.Namespace, home: Path) -> Run:
    """One whole day on a fresh market."""
    day = datetime.fromisoformat(arguments.date).replace(tzinfo=ZoneInfo("America/New_York"))
    opens, closes = day.replace(hour=9, minute=30), day.replace(hour=16)
    settings = {"FEED": arguments.feed, "DATE": arguments.date, "STEPPED": "1"}
    if arguments.feed == "lean":
        settings["DATA"] = str(Path(arguments.data).resolve())
    else:
        opens = day + STEP  # that market never closes
    if arguments.minutes:
        closes = opens + timedelta(minutes=arguments.minutes)
    steps = int((closes - opens) / STEP)
    started = time.monotonic()
    with RunningPlatform(home, settings) as platform:
        client = Client(platform)
        script = Script(client, arguments.seed)
        for step in range(steps):
            advance(client, opens + step * STEP)
            due = arguments.orders * (step + 1) // steps
            script.trade(due - script.placed)
        advance(client, closes + timedelta(minutes=1))
        seconds = time.monotonic() - started
        fills = command(platform, "export_fills").stdout
        books = command(platform, "reconcile")
        certificates = command(platform, "verify_fills")
    return Run(
        orders=script.placed,
        answers=script.answers,
        fills=max(fills.count("\n") - 1, 0),
        digest=hashlib.sha256(fills.encode()).hexdigest(),
        books=books.stdout + books.stderr + certificates.stdout + certificates.stderr,
        balanced=books.returncode == 0 and certificates.returncode == 0,
        seconds=seconds,
    )


def advance(client: Client, to: datetime) -> None:
    status, answer = client.request("POST", "/api/market/advance", {"to": to.isoformat()})
    if status != 200:
        raise SystemExit(f"the market did not advance to {to}: {status} {answer}")


def main(words: Sequence[str] | None = None) -> int:
    """Returns 0 where all books prove and all runs agree."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--feed", choices=("lean", "simulated"), default="lean")
    parser.add_argument("--data", default="../shared/lean", help="a LEAN data folder")
    parser.add_argument("--date", default="2013-10-07")
    parser.add_argument("--orders", type=int, default=2_400)
    parser.add_argument("--minutes", type=int, default=0, help="stop early; 0 for the whole day")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--runs", type=int, default=2)
    arguments = parser.parse_args(words)
    runs = []
    for number in range(arguments.runs):
        with tempfile.TemporaryDirectory(prefix="openbell-") as home:
            runs.append(play(arguments, Path(home)))
        report(number, runs[-1])
    same = len({run.digest for run in runs}) == 1
    print("same fills in every run:", "yes" if same else "NO")
    return 0 if same and all(run.balanced for run in runs) else 1


def report(number: int, run: Run) -> None:
    answers = ", ".join(f"{count} {answer}" for answer, count in run.answers.most_common())
    print(f"run {number + 1}: {run.orders} orders ({answers}), {run.fills} fills", end="")
    print(f" in {run.seconds:.1f} s, fills sha256 {run.digest}")
    print(run.books.rstrip())
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
