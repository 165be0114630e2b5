"""What it costs to deliver a message to many sockets: Openbell beside its peers, in one run.

    make bench-streams                                   # installs the peers and measures all
    python -m benchmarks.streams --only "Openbell" ws    # some contestants
    python -m benchmarks.streams --tables idle           # some tables

1,000 sockets want 10 of 100 symbols each, so every tick goes to 100 of them, in about 120 bytes of
JSON. Redis brings the ticks: to Openbell over its own bus as ingest publishes them (full_path.py
has the feed process itself), to the peers as ready JSON, to stock Channels by `group_send`. The
server has one core, the load (streams_load.c) and Redis have the other. Openbell runs with
everything on: key checks, bounds, counters, sequence checks and its codecs; the peers do nothing of
the kind.

A server that coalesces is only measured at saturation while it is the one that everything waits
for: else it idles, gets its ticks one by one and writes them one by one. So the load does as little
as it can. It is written in C, publishes by itself what was made beforehand (streams_messages.py),
and no server pays for waking it. Only stock Channels, which takes a hundred times as long for a
message, has a publisher in Python. "core" is the share of its core that a server had: a saturated
one had all of it.

The figure that counts is the CPU time of the server's processes per delivered message
(/proc/<pid>/task/*/schedstat): what a busy machine changes least. "Own writes" is Openbell with
nothing coalesced, "25 ms" is Openbell with that STREAM_FLUSH_MS, which pays where there is less to
do. Printed are medians over the rounds; every message must arrive.
"""

from __future__ import annotations

import argparse
import math
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from benchmarks.hot_reads import PEERS, PEERS_PYTHON, ROOT, redis
from benchmarks.streams_figures import (
    AGES,
    BUCKET_US,
    CLOSED,
    DELIVERED,
    PUBLISHED,
    READS,
    Shared,
)
from benchmarks.streams_messages import SYMBOLS
from benchmarks.streams_processes import (
    CC,
    LOAD_CORE,
    SYMBOLS_EACH,
    Contestant,
    clients,
    compiled,
    publishing,
    serving,
)

SOCKETS, IDLE_SOCKETS = 1_000, 10_000
FAN = SOCKETS * SYMBOLS_EACH // len(SYMBOLS)
WARM_UP_SECONDS, ARRIVE_SECONDS = 2.0, 10.0
WINDOW_CHANNELS = 2_000
EPOCH_MAX = 1_000_000  # beyond that of any batch
FLUSH = "STREAM_FLUSH_MS"
AUTH_AND_SUBSCRIPTION = 3  # frames that Openbell sends before data: welcome, success, subscription


class Load(NamedTuple):
    """What is published: as much as may be under way, or so many deliveries a second."""

    title: str
    window: int = 0
    rate: int = 0

    def of(self, kind: str) -> dict[str, int]:
        """In the words of `publishing`."""
        window = min(self.window, WINDOW_CHANNELS) if kind == "channels" else self.window
        return {"window": window, "rate": self.rate}


class Run(NamedTuple):
    """One measurement of one server."""

    per_second: float
    cpu_us: float  # of the server's processes, per delivered message
    core: float  # share of its core that the server had
    p50_ms: float
    p99_ms: float
    together: float  # messages that one read of a client brings
    lost: float


class Idle(NamedTuple):
    """Sockets that are open and hear nothing."""

    opened_seconds: float
    kilobytes: float  # of resident memory, per socket
    core: float  # share of a core that they cost


SATURATION = Load("as fast as it goes, at most 4,000 messages under way", window=4_000)
PACED = Load("100,000 messages/s, evenly", rate=100_000)


def main() -> None:
    options = parse()
    with ExitStack() as stack:
        home = Path(tempfile.mkdtemp(prefix="openbell-streams-"))
        stack.callback(shutil.rmtree, home, ignore_errors=True)
        os.sched_setaffinity(0, {LOAD_CORE})
        stack.enter_context(redis(home))
        contestants = list(chosen(all_contestants(home, prepare(home)), options.only))
        shared = Shared(home / "shared")
        for name in options.tables:
            TABLES[name](contestants, home, shared, options)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4, help="of each run, after a warm-up")
    parser.add_argument("--sockets", type=int, default=IDLE_SOCKETS, help="that are opened idle")
    parser.add_argument("--only", nargs="*", help="contestants whose names hold one of these")
    parser.add_argument("--tables", nargs="*", choices=TABLES, default=list(TABLES))
    for tool in ("redis-server", "node", CC):
        if shutil.which(tool) is None:
            parser.error(f"{tool} is needed: apt-get install redis-server nodejs gcc")
    if not PEERS_PYTHON.exists() or not (PEERS / "node_modules").is_dir():
        parser.error("the peers are not installed: benchmarks/install_peers.sh")
    if len(os.sched_getaffinity(0)) < 2:
        parser.error("two cores are needed: one for the server, one for the load")
    return parser.parse_args()


def prepare(home: Path) -> tuple[str, str]:
    """Openbell's database with one trader, and the programs in C; the trader's key."""
    own = ROOT / "benchmarks"
    compiled(home / "load", own / "streams_load.c", own / "streams_publish.c")
    compiled(home / "epoll_writer", PEERS / "epoll_writer.c")
    os.environ |= {
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "OPENBELL_HOME": str(home),
        "OPENBELL_ENV_FILE": os.devnull,
        "SECRET_KEY": "only-for-this-benchmark",
    }
    import django
    from django.conf import settings
    from django.core.management import call_command

    django.setup()
    settings.MARKET_HOME.mkdir(parents=True, exist_ok=True)
    call_command("migrate", verbosity=0)
    from quotes import latest
    from quotes.ticks import Place
    from tests.people import a_trader

    # As a feed does, say that all is stored: else the hub looks again and again for what it missed.
    latest.put_many((), Place(EPOCH_MAX, 0))
    trader = a_trader()
    return trader.key_id, trader.secret


def all_contestants(home: Path, key: tuple[str, str]) -> Iterator[Contestant]:
    redis_port = os.environ["REDIS_URL"].rpartition(":")[2].partition("/")[0]
    server = [sys.executable, "-m", "benchmarks.streams_server"]

    def ours(symbols: list[str]) -> str:
        auth = f'{{"action":"auth","key":"{key[0]}","secret":"{key[1]}"}}'
        wanted = '","'.join(symbols)
        return f'/v2/sip\t{auth}\t{{"action":"subscribe","trades":["{wanted}"]}}'

    def peers(symbols: list[str]) -> str:
        return f"/?s={','.join(symbols)}"

    stock = [sys.executable, str(PEERS / "channels_stream.py")]
    yield Contestant("stock Channels, group_send", "channels", stock, {}, peers)
    yield Contestant("Node ws", "redis", ["node", str(PEERS / "ws_stream.mjs")], {}, peers)
    uws = [str(PEERS_PYTHON), str(PEERS / "socketify_stream.py")]
    yield Contestant("uWebSockets (socketify)", "redis", uws, {}, peers)
    limit = [str(home / "epoll_writer"), "PORT", redis_port]
    yield Contestant("C, epoll and send", "redis", limit, {}, peers)
    own = {"OWN_WRITES": "1"}
    frames = AUTH_AND_SUBSCRIPTION
    yield Contestant("Openbell, own writes", "openbell", server, own, ours, frames)
    yield Contestant("Openbell", "openbell", server, {}, ours, frames)
    yield Contestant("Openbell, 25 ms", "openbell", server, {FLUSH: "25"}, ours, frames)


def honest(contestant: Contestant) -> Contestant:
    """Openbell whose clients ask for snapshots and heartbeats, too."""

    def client(symbols: list[str]) -> str:
        return contestant.client(symbols).replace("\t", "?honest=1\t", 1)

    name, answers = f"{contestant.name}, honest", contestant.answers + SYMBOLS_EACH
    return contestant._replace(name=name, client=client, answers=answers)


def chosen(contestants: Iterator[Contestant], only: list[str] | None) -> Iterator[Contestant]:
    for each in contestants:
        if not only or any(part in each.name for part in only):
            yield each


# --- tables ---------------------------------------------------------------------------------------


def saturation(
    contestants: list[Contestant], home: Path, shared: Shared, options: argparse.Namespace
) -> None:
    busy = [each for each in contestants if FLUSH not in each.environment]  # it would wait
    runs = measured(SATURATION, busy, home, shared, options)
    print_runs(SATURATION.title, runs)
    print_goals(runs)


def paced(
    contestants: list[Contestant], home: Path, shared: Shared, options: argparse.Namespace
) -> None:
    able = [each for each in contestants if each.kind != "channels"]  # it cannot keep up
    print_runs(
        PACED.title + " (goal: p99 under 5 ms)", measured(PACED, able, home, shared, options)
    )


def idle(
    contestants: list[Contestant], home: Path, shared: Shared, options: argparse.Namespace
) -> None:
    print(
        f"\n{options.sockets:,} sockets that hear nothing; honest ones a heartbeat in two seconds"
    )
    print(f"{'':28}{'opened in':>12}{'KB/socket':>12}{'core':>8}")
    quiet = [each for each in contestants if each.kind != "channels" and not each.environment]
    for each in (*quiet, *map(honest, (own for own in quiet if own.kind == "openbell"))):
        found = measure_idle(each, home, shared, options)
        opened, kilobytes, core = found
        print(f"{each.name:28}{opened:>10.1f} s{kilobytes:>12.1f}{core:>8.2f}")
    print("goals for Openbell, plain: opened in under 10 s; 25 KB or less, 32 KB at most")


TABLES = {"saturation": saturation, "paced": paced, "idle": idle}


def print_runs(title: str, runs: dict[str, Run]) -> None:
    print(f"\n{title}")
    heads = f"{'CPU µs/msg':>12}{'core':>7}{'p50 ms':>9}{'p99 ms':>9}{'msg/read':>10}{'lost':>7}"
    print(f"{'':28}{'msg/s':>11}{heads}")
    for name, run in runs.items():
        print(
            f"{name:28}{run.per_second:>11,.0f}{run.cpu_us:>12.3f}{run.core:>7.2f}"
            f"{run.p50_ms:>9.2f}{run.p99_ms:>9.2f}{run.together:>10.1f}{run.lost:>7.0f}"
        )


def print_goals(runs: dict[str, Run]) -> None:
    """How many times better Openbell is than its peers, the goal and what is demanded."""
    print(f"\n{'CPU per message, in favour of Openbell':52}{'is':>8}{'goal':>8}{'must':>8}")
    for ours, peer, goal, must in (
        ("Openbell", "stock Channels, group_send", 40, 30),
        ("Openbell, own writes", "Node ws", 1.2, 1.0),
        ("Openbell", "Node ws", 4.5, 3.5),
        ("Openbell", "uWebSockets (socketify)", 1.0, 0.85),
    ):
        if {ours, peer} <= runs.keys():
            ratio = runs[peer].cpu_us / runs[ours].cpu_us
            print(f"{ours + ' / ' + peer:52}{ratio:>8.2f}{goal:>8}{must:>8}")


# --- measuring ------------------------------------------------------------------------------------


def measured(
    load: Load,
    contestants: list[Contestant],
    home: Path,
    shared: Shared,
    options: argparse.Namespace,
) -> dict[str, Run]:
    """The medians of all rounds, in which the contestants take turns."""
    runs: dict[str, list[Run]] = {each.name: [] for each in contestants}
    for _ in range(options.rounds):
        for each in contestants:
            runs[each.name].append(measure(each, load, home, shared, options.seconds))
    return {
        name: Run(*(statistics.median(column) for column in zip(*each, strict=True)))._replace(
            lost=max(run.lost for run in each)
        )
        for name, each in runs.items()
    }


def measure(contestant: Contestant, load: Load, home: Path, shared: Shared, seconds: float) -> Run:
    shared.clear()
    with (
        serving(contestant) as server,
        clients(contestant, server.port, SOCKETS, home, shared, fan=FAN),
    ):
        with publishing(contestant.kind, FAN, shared, **load.of(contestant.kind)):
            time.sleep(WARM_UP_SECONDS)
            before, spent, at = shared.figures(), server.cpu(), time.monotonic()
            time.sleep(seconds)
            after, spent, took = shared.figures(), server.cpu() - spent, time.monotonic() - at
        lost = missing(shared)
        if shared[CLOSED]:
            raise SystemExit(f"{contestant.name} closed {shared[CLOSED]} sockets")
    figures = [now - then for now, then in zip(after, before, strict=True)]
    heard, ages = figures[DELIVERED], figures[AGES]
    return Run(
        heard / took,
        spent / 1000 / max(heard, 1),
        spent / 1e9 / took,
        percentile(ages, 0.50),
        percentile(ages, 0.99),
        heard / max(figures[READS], 1),
        lost,
    )


def measure_idle(
    contestant: Contestant, home: Path, shared: Shared, options: argparse.Namespace
) -> Idle:
    shared.clear()
    with serving(contestant) as server:
        time.sleep(1)
        before, at = server.resident(), time.monotonic()
        with clients(contestant, server.port, options.sockets, home, shared):
            opened = time.monotonic() - at
            time.sleep(2)
            grown, spent, at = server.resident() - before, server.cpu(), time.monotonic()
            time.sleep(options.seconds)
            core = (server.cpu() - spent) / 1e9 / (time.monotonic() - at)
    return Idle(opened, grown / 1024 / options.sockets, core)


def percentile(ages: list[int], share: float) -> float:
    """Milliseconds; the ages are counts by steps of BUCKET_US."""
    wanted, counted = sum(ages) * share, 0
    for bucket, count in enumerate(ages):
        counted += count
        if counted >= wanted and counted:
            return (bucket + 1) * BUCKET_US / 1000
    return math.nan


def missing(shared: Shared) -> int:
    """Messages that were published and not delivered, once everything had time to arrive."""
    deadline = time.monotonic() + ARRIVE_SECONDS
    while shared[DELIVERED] < shared[PUBLISHED] and time.monotonic() < deadline:
        time.sleep(0.05)
    return shared[PUBLISHED] - shared[DELIVERED]


if __name__ == "__main__":
    main()
