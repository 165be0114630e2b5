"""Two hundred rows that all tick, and a chart: one paint a frame, whatever arrives in between."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.browser.screen import Screen

BUSY_MARKET = Path(__file__).with_name("busy_market.js")
ROWS = 200
TICKS = 3 * ROWS  # the market goes round: three of each row
BARS = 300
# How many a second the page shows is for `benchmarks.screen_pace` to measure, goal 60. A machine
# that is busy with other things shows fewer; a screen that shows no more than this hangs.
FRAMES_A_SECOND_LEAST = 0.3


def make_busy(screen: Screen) -> None:
    """Show a watchlist of so many rows and a chart, and let the market rain on them."""
    page = screen.page
    page.add_init_script(path=BUSY_MARKET)
    page.route("**/v2/watchlists**", watch_everything)
    page.route("**/v2/stocks/snapshots**", lambda route: route.fulfill(json={}))
    page.route("**/v2/stocks/bars**", chart_something)
    page.reload()
    page.wait_for_selector(f"[data-watch-rows] tr:nth-child({ROWS})")
    screen.wait_until("document.querySelector('[data-legend]').textContent !== ''")
    screen.wait_until(f"window.pace.told > {2 * ROWS}")


def measured(screen: Screen) -> dict[str, float]:
    """What was counted since `startCounting()`, and in how many seconds."""
    pace = "({...window.pace, seconds: (performance.now() - window.pace.since) / 1000})"
    counted: dict[str, float] = screen.page.evaluate(pace)
    return counted


def watch_everything(route: Any) -> None:
    assets = [{"symbol": f"T{number}"} for number in range(ROWS)]
    watchlist = {"id": "busy", "name": "Busy", "assets": assets}
    alone = "/v2/watchlists/" in route.request.url
    route.fulfill(body=json.dumps(watchlist if alone else [watchlist]))


def chart_something(route: Any) -> None:
    minute = int(time.time()) // 60 * 60
    starts = [minute - 60 * age for age in range(1, BARS)]  # what ticks may be of the last minute
    bars = [
        {"t": f"{datetime.fromtimestamp(at, UTC):%FT%TZ}", "o": 104, "h": 110, "l": 100, "c": 105}
        | {"v": 10, "n": 3}
        for at in starts
    ]
    route.fulfill(json={"bars": {"T0": bars}, "next_page_token": None})


def test_two_hundred_ticking_rows_are_painted_once_a_frame(desk: Screen) -> None:
    asked: list[str] = []
    desk.page.on("request", lambda request: asked.append(urlsplit(request.url).path))
    make_busy(desk)
    desk.page.evaluate("startCounting()")
    desk.wait_until(f"window.pace.told > {TICKS}")
    desk.wait_until("window.pace.paints > 5 && window.pace.legends > 5")
    pace = measured(desk)
    # Each draws the chart at once, and what the connection is told may lead to one at any time.
    loads = asked.count("/v2/stocks/bars")
    print(f"{pace['frames'] / pace['seconds']:.1f} frames a second")

    assert 1 < pace["paints"] <= pace["frames"] + 1
    assert 1 < pace["legends"] <= pace["frames"] + 1 + loads
    assert desk.page.is_visible("[data-canvas]")
    assert pace["frames"] / pace["seconds"] > FRAMES_A_SECOND_LEAST
    shown = desk.page.evaluate(
        "[...document.querySelectorAll('[data-watch-rows] tr')]"
        ".filter(row => parseFloat(row.cells[3].textContent) > 100).length"
    )
    assert shown == ROWS
