"""How many of the screens' queries leave the primary, while orders go on.

    .venv/bin/python benchmarks/replica_share.py

Starts a real primary with two replicas, Redis, feed, execution, relay, a web and a stream process
for the screens and a web process for the orders, and lets `--screens` live in real time: each is
opened every five minutes and then asks as benchmarks/screens.py says, per visit on average

    page, clock, market, calendar, account, positions, open and finished orders, assets, watchlists,
    one watchlist, twice snapshots, bars, and the socket of the account, once each;
    30 times clock and market, 10 times account and positions, 5 times snapshots, 5 times bars;
    3.75 times account and positions, on the news of the orders that its person places.

For so often a person trades when 5 % of them have traded within the pin (4 s) at any time. Programs
add to their orders what is missing to `--orders` a second, as far as the machine gets.

Counted is what each server says of the user that a process logs in as (MariaDB's user statistics):
the screens' processes have one of their own, and so have the orders'. What they ask without any
load (health looks at replicas, the heartbeat) is measured before and taken off.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.screens import Load, Person  # noqa: E402
from tests.replication.cluster import Cluster  # noqa: E402

NODES = ("primary", "replica 1", "replica 2")
SCREENS, ORDERS, OTHERS = "screens", "orders", "openbell"
WEB = [sys.executable, "-m", "gunicorn", "-c", "python:config.server.gunicorn_settings"]
PINNED_SHARE = 0.05
PROGRAMS = 16
WATCHED = 12
WARM_UP_SECONDS = 10
IDLE_SECONDS = 10
START_SECONDS = 60
STOP_SECONDS = 10
REFUSED_MAX = 0.01


class Count(NamedTuple):
    """What a user asked a server."""

    reads: float
    writes: float


Counts = dict[tuple[int, str], Count]  # by node and user


def main() -> None:
    options = parse()
    with ExitStack() as stack:
        home = Path(tempfile.mkdtemp(prefix="ob."))  # short: the path of a socket has an end
        stack.callback(shutil.rmtree, home, ignore_errors=True)
        cluster = Cluster(home / "db")
        stack.callback(cluster.stop)
        environment = prepare(cluster, home, stack)
        ports = start_processes(environment, home, stack)
        load = populate(ports, options)
        idle = rates(cluster, IDLE_SECONDS)
        drive(load, WARM_UP_SECONDS)
        before, begun = counts(cluster), time.monotonic()
        counted = drive(load, options.seconds)
        seconds = time.monotonic() - begun
        asked = over(counts(cluster), before, idle, seconds)
        print_load(counted, options, seconds)
        check_answers(counted, home)
    print_table(asked)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--screens", type=int, default=200)
    parser.add_argument("--orders", type=float, default=300, help="a second, of all people")
    parser.add_argument("--seconds", type=float, default=60)
    os.environ["PATH"] += os.pathsep + "/usr/sbin"  # where Debian keeps mariadbd
    for server in ("mariadbd", "redis-server"):
        if shutil.which(server) is None:
            parser.error(f"{server} is needed: apt-get install mariadb-server redis-server")
    return parser.parse_args()


# --- servers and processes -----------------------------------------------------------------------


def prepare(cluster: Cluster, home: Path, stack: ExitStack) -> dict[str, str]:
    """Databases, Redis and a market; the environment of its processes."""
    cluster.folder.mkdir()
    addresses = cluster.start()
    for node in range(len(NODES)):
        cluster.sql(node, "SET GLOBAL userstat = 1")
    for user in (SCREENS, ORDERS):
        cluster.sql(0, f"CREATE USER '{user}'@'127.0.0.1' IDENTIFIED BY 'openbell'")
        cluster.sql(0, f"GRANT ALL ON openbell.* TO '{user}'@'127.0.0.1'")
    port = free_port()
    redis = ["redis-server", "--bind", "127.0.0.1", "--port", str(port), "--save", ""]
    stack.enter_context(running(redis, dict(os.environ), home / "redis.log"))
    os.environ |= {
        **addresses,
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "OPENBELL_HOME": str(home),
        "OPENBELL_ENV_FILE": os.devnull,
        "SECRET_KEY": "only-for-this-benchmark",
        "REDIS_URL": f"redis://127.0.0.1:{port}/0",
        "REDIS_STATE_URL": f"redis://127.0.0.1:{port}/1",
        "LOG_LEVEL": "WARNING",
    }
    wait_for("Redis", lambda: listens(port))
    command = [sys.executable, "-m", "config.launcher.prepare", "http://127.0.0.1"]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return dict(os.environ)


def start_processes(environment: dict[str, str], home: Path, stack: ExitStack) -> dict[str, int]:
    """Openbell's processes; the ports of those that answer."""
    ports = {name: free_port() for name in ("web", "stream", "orders")}
    manage = [sys.executable, "manage.py"]
    for name, command, user in (
        ("feed", [*manage, "run_feed"], OTHERS),
        ("execution", [*manage, "run_execution"], OTHERS),
        ("relay", [*manage, "run_relay"], OTHERS),
        ("stream", [sys.executable, "-m", "config.server"], SCREENS),
        ("web", WEB, SCREENS),
        ("orders", WEB, ORDERS),
    ):
        told = {**environment, "PORT": str(ports.get(name, 0)), "HOST": "127.0.0.1"}
        told["WEB_WORKERS"] = "2" if name == "orders" else "1"
        for variable in ("DATABASE_URL", "REPLICA_URLS"):
            told[variable] = told[variable].replace("//openbell:", f"//{user}:")
        stack.enter_context(running(command, told, home / f"{name}.log"))
    for name, port in ports.items():
        wait_for(f"the {name} process", partial(listens, port))
    return ports


@contextmanager
def running(command: list[str], environment: dict[str, str], log: Path) -> Iterator[None]:
    with log.open("wb") as file:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=file, stderr=file, start_new_session=True
        )
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(what: str, holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not holds():
        if time.monotonic() > deadline:
            raise SystemExit(f"waited in vain for {what}")
        time.sleep(0.1)


# --- people --------------------------------------------------------------------------------------


def populate(ports: dict[str, int], options: argparse.Namespace) -> Load:
    """People with a login, a watchlist and something that they hold; programs with a key."""
    import django

    django.setup()
    from config.databases import health, pinning
    from quotes import latest
    from quotes.models import Instrument
    from quotes.streaming.bus import forget_bus

    listed = list(Instrument.objects.order_by("symbol")[:WATCHED])
    symbols = [instrument.symbol for instrument in listed]
    wait_for("quotes", lambda: all(known.quote for known in latest.get_many(symbols).values()))
    people = [person(listed, n) for n in range(options.screens)]
    programs = [person(listed, options.screens + n) for n in range(PROGRAMS)]
    wait_for_fills()
    load = Load(
        web=ports["web"],
        stream=ports["stream"],
        orders=ports["orders"],
        people=people,
        programs=programs,
        pin_seconds=pinning.pin_seconds(),
        trades_per_second=PINNED_SHARE / pinning.pin_seconds(),
        orders_per_second=options.orders,
        symbols=symbols,
    )
    health.forget_watch()
    forget_bus()
    return load


def person(listed: list[Any], number: int) -> Person:
    from django.conf import settings
    from django.contrib.auth import get_user_model
    from django.test import Client

    from access.keys import create_key
    from portfolios.accounts import open_account
    from portfolios.watchlists import create_watchlist
    from trading import orders
    from trading.models import OrderType, Side, TimeInForce
    from trading.request import OrderRequest

    user = get_user_model().objects.create_user(username=f"person{number}")
    account = open_account(user=user, cash=Decimal(1_000_000), actor="benchmark")
    key, secret = create_key(account_id=account.pk, user=user, actor="benchmark")
    watchlist = create_watchlist(account_id=account.pk, name="Watchlist", instruments=listed)
    for instrument in listed[:2]:
        request = OrderRequest(
            symbol=instrument.symbol,
            side=Side.BUY,
            type=OrderType.MARKET,
            time_in_force=TimeInForce.DAY,
            quantity=Decimal(10),
        )
        orders.submit(account_id=account.pk, request=request, actor="benchmark")
    browser = Client()
    browser.force_login(user)
    today = datetime.now(UTC)
    return Person(
        cookie=f"sessionid={browser.cookies[settings.SESSION_COOKIE_NAME].value}",
        key={"APCA-API-KEY-ID": key.key_id, "APCA-API-SECRET-KEY": secret},
        words={
            "watchlist": str(watchlist.public_id),
            "symbols": ",".join(instrument.symbol for instrument in listed),
            "symbol": listed[0].symbol,
            "day": f"{today:%Y-%m-%d}",
            "start": f"{today - timedelta(days=2):%Y-%m-%dT%H:%M:%SZ}",
        },
    )


def wait_for_fills() -> None:
    from trading.models import Order, OrderStatus

    unfilled = Order.objects.exclude(status=OrderStatus.FILLED)
    wait_for("the engine", lambda: not unfilled.exists())


# --- counting ------------------------------------------------------------------------------------


def drive(load: Load, seconds: float) -> Counter[str]:
    """The load, from a process of its own; what it counted."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(run, (load, seconds))


def run(load: Load, seconds: float) -> Counter[str]:
    load.run(seconds)
    return load.counted


def counts(cluster: Cluster) -> Counts:
    """What every user has asked every server since it started."""
    found = {}
    for node in range(len(NODES)):
        rows = cluster.sql(
            node,
            "SELECT user, select_commands, update_commands FROM information_schema.user_statistics",
        )
        for user, reads, writes in (line.split("\t") for line in rows.splitlines()):
            if user in (SCREENS, ORDERS, OTHERS):
                found[node, user] = Count(float(reads), float(writes))
    return found


def rates(cluster: Cluster, seconds: float) -> Counts:
    """What is asked in a second without load."""
    before = counts(cluster)
    time.sleep(seconds)
    return {
        which: Count(
            *((now - then) / seconds for now, then in zip(after, before[which], strict=True))
        )
        for which, after in counts(cluster).items()
    }


def over(after: Counts, before: Counts, idle: Counts, seconds: float) -> Counts:
    """What was asked in between, beyond what is asked anyway."""
    return {
        which: Count(
            *(
                max(0.0, now - then - rate * seconds)
                for now, then, rate in zip(after[which], before[which], idle[which], strict=True)
            )
        )
        for which in after
    }


# --- what is printed -----------------------------------------------------------------------------


def print_load(counted: Counter[str], options: argparse.Namespace, seconds: float) -> None:
    orders = counted["POST /v2/orders"]
    reads = sum(number for name, number in counted.items() if name.startswith("GET "))
    pinned = counted.pop("moments within the pin") / counted.pop("moments")
    print(f"{options.screens} screens for {seconds:.0f} s: {reads / seconds:.0f} requests/s,")
    print(f"{pinned:.1%} of their moments within the pin of an order of their own;")
    print(f"{orders / seconds:.0f} orders/s of {options.orders:.0f} asked for\n")
    for name, number in sorted(counted.items()):
        print(f"{number:9,}  {name}")


def check_answers(counted: Counter[str], home: Path) -> None:
    """Nothing is measured where requests fail; says what the processes said."""
    failed = counted["unanswered"] + sum(n for name, n in counted.items() if "refused" in name)
    if failed <= REFUSED_MAX * counted.total():
        return
    for name in ("web", "orders"):
        print(f"\n{name}.log ends:\n{(home / f'{name}.log').read_text()[-3000:]}", file=sys.stderr)
    raise SystemExit(f"{failed} requests failed")


def print_table(asked: Counts) -> None:
    print(f"\n{'queries':26}" + "".join(f"{node:>12}" for node in NODES) + f"{'left':>9}")
    rows = {
        "of the screens": [SCREENS],
        "of orders, as they come": [ORDERS],
        "of feed, engine, relay": [OTHERS],
        "all that read": [SCREENS, ORDERS, OTHERS],
    }
    for name, users in rows.items():
        reads = [
            sum(asked[node, user].reads for user in users if (node, user) in asked)
            for node in range(3)
        ]
        share = sum(reads[1:]) / max(1.0, sum(reads))
        print(f"{name:26}" + "".join(f"{number:12,.0f}" for number in reads) + f"{share:9.1%}")
    writes = sum(count.writes for (node, _), count in asked.items() if node == 0)
    print(f"{'all that write':26}{writes:12,.0f}")


if __name__ == "__main__":
    main()
