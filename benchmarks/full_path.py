"""From the feed process through Redis to the client's frame: how much, how late, and is any lost?

    make bench B=full_path

The real feed process (`run_feed`: lease, clock, latest quotes, bars, history) plays a simulated
market whose instruments are busier than any real one, a stream process delivers, and 1,000 clients
want trades and quotes of 10 of its 50 symbols each, so that every tick goes to 200 of them. The
stream process has one core; feed, Redis, database and clients have the other.

A message's age runs from the instant of its tick, as market time says it, to the client's read. The
feed's part of it, until the tick is published, is told beside it: ticks within 5 ms share a batch.
Whatever the feed publishes is counted, and every message of it must arrive.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.hot_reads import ROOT, redis
from benchmarks.streams import AUTH_AND_SUBSCRIPTION, SOCKETS, missing, percentile, prepare
from benchmarks.streams_figures import AGES, CLOSED, DELIVERED, ENOUGH, PUBLISHED, Shared
from benchmarks.streams_processes import (
    CC,
    LOAD_CORE,
    SYMBOLS_EACH,
    Contestant,
    clients,
    serving,
)

BEGUN = "begun\n"
MORE = 1.08  # the simulation draws its ticks: so much more on average, or it falls short
RATES = (100_000, 200_000)  # deliveries a second
FLOWING_SECONDS_MAX = 60.0
SETTLE_SECONDS, WARM_UP_SECONDS, END_SECONDS = 3.0, 3.0, 30.0


def main() -> None:
    options = parse()
    with ExitStack() as stack:
        home = Path(tempfile.mkdtemp(prefix="openbell-full-path-"))
        stack.callback(shutil.rmtree, home, ignore_errors=True)
        os.sched_setaffinity(0, {LOAD_CORE})
        stack.enter_context(redis(home))
        openbell = contestant(prepare(home))
        shared = Shared(home / "shared")
        print(
            "From the feed process through Redis to 1,000 clients; goals: none lost at 200,000/s,"
        )
        print("p99 under 5 ms at 100,000/s\n")
        heads = f"{'p50 ms':>9}{'p99 ms':>9}{'lost':>7}"
        print(f"{'asked for':>12}{'msg/s':>11}{'CPU µs/msg':>12}{heads}   until published p50, p99")
        for rate in options.rates:
            measure(openbell, rate, home, shared, options.seconds)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rates", type=int, nargs="*", default=RATES, help="deliveries a second")
    parser.add_argument("--seconds", type=float, default=8, help="of each run, after a warm-up")
    for tool in ("redis-server", CC):
        if shutil.which(tool) is None:
            parser.error(f"{tool} is needed: apt-get install redis-server gcc")
    if len(os.sched_getaffinity(0)) < 2:
        parser.error("two cores are needed: one for the server, one for the load")
    return parser.parse_args()


def contestant(key: tuple[str, str]) -> Contestant:
    from quotes.feeds.listings import LISTINGS

    symbols, numbers = [listing.symbol for listing in LISTINGS], itertools.count()
    step = len(symbols) // SYMBOLS_EACH

    def introduce(_: list[str]) -> str:
        number = next(numbers)
        wanted = [symbols[(number + n * step) % len(symbols)] for n in range(SYMBOLS_EACH)]
        auth = {"action": "auth", "key": key[0], "secret": key[1]}
        subscribe = {"action": "subscribe", "trades": wanted, "quotes": wanted}
        return f"/v2/sip\t{json.dumps(auth)}\t{json.dumps(subscribe)}"

    server = [sys.executable, "-m", "benchmarks.streams_server"]
    return Contestant("Openbell", "openbell", server, {}, introduce, AUTH_AND_SUBSCRIPTION)


def measure(openbell: Contestant, rate: int, home: Path, shared: Shared, seconds: float) -> None:
    from quotes.feeds.listings import LISTINGS

    fan = SOCKETS * SYMBOLS_EACH // len(LISTINGS)
    shared.clear()
    with serving(openbell) as server, clients(openbell, server.port, SOCKETS, home, shared):
        with feeding(shared, fan, rate) as feed:
            begin(feed, shared, rate)
            time.sleep(WARM_UP_SECONDS)
            before, spent, at = shared.figures(), server.cpu(), time.monotonic()
            time.sleep(seconds)
            after, took = shared.figures(), time.monotonic() - at
            spent = server.cpu() - spent
        lost, closed = missing(shared), shared[CLOSED]
    assert feed.stdout is not None
    said = json.loads(feed.stdout.read())
    figures = [now - then for now, then in zip(after, before, strict=True)]
    heard, ages = figures[DELIVERED], figures[AGES]
    print(
        f"{rate:>12,}{heard / took:>11,.0f}{spent / 1000 / max(heard, 1):>12.3f}"
        f"{percentile(ages, 0.5):>9.2f}{percentile(ages, 0.99):>9.2f}"
        f"{lost:>7}{said['p50_ms']:>18.2f}{said['p99_ms']:>7.2f}",
        flush=True,
    )
    if closed:
        raise SystemExit(f"the server closed {closed} sockets")


@contextmanager
def feeding(shared: Shared, fan: int, rate: int) -> Iterator[subprocess.Popen[str]]:
    """The feed process; it ends by itself once there is enough, and says how late it published."""
    command = [sys.executable, "-m", "benchmarks.full_path_feed", str(shared.path)]
    process = subprocess.Popen(
        [*command, "--fan", str(fan), "--per-second", str(MORE * rate / fan)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        shared.set(ENOUGH, 1)
        process.wait(END_SECONDS)


def begin(feed: subprocess.Popen[str], shared: Shared, rate: int) -> None:
    """Let ticks flow once the stream process has found its place in the feed, until they do.

    What it told until then, of what a run before has stored, does not count. The seconds that a
    quiet market has looked ahead stay quiet: that may take some.
    """
    assert feed.stdin is not None
    assert feed.stdout is not None
    if feed.stdout.readline() != BEGUN:
        raise SystemExit("the feed does not begin")
    time.sleep(SETTLE_SECONDS)
    shared.set(PUBLISHED, shared[DELIVERED])
    feed.stdin.write("go\n")
    feed.stdin.flush()
    flowing, deadline = shared[DELIVERED] + rate // 10, time.monotonic() + FLOWING_SECONDS_MAX
    while shared[DELIVERED] < flowing:
        if time.monotonic() > deadline:
            raise SystemExit("the ticks do not flow")
        time.sleep(0.05)


if __name__ == "__main__":
    main()
