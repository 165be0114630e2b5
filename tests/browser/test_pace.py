"""Two hundred rows that all tick: the screen paints once a frame, whatever arrives in between."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.browser.screen import Screen

BUSY_MARKET = Path(__file__).with_name("busy_market.js")
ROWS = 200
TICKS = 12_000


def make_busy(screen: Screen) -> None:
    """Show a watchlist of so many rows, and let the market rain on it."""
    page = screen.page
    page.add_init_script(path=BUSY_MARKET)
    page.route("**/v2/watchlists**", watch_everything)
    page.route("**/v2/stocks/snapshots**", lambda route: route.fulfill(json={}))
    page.reload()
    page.wait_for_selector(f"[data-watch-rows] tr:nth-child({ROWS})")
    screen.wait_until("window.pace.told > 2000")


def watch_everything(route: Any) -> None:
    assets = [{"symbol": f"T{number}"} for number in range(ROWS)]
    watchlist = {"id": "busy", "name": "Busy", "assets": assets}
    alone = "/v2/watchlists/" in route.request.url
    route.fulfill(body=json.dumps(watchlist if alone else [watchlist]))


def test_two_hundred_ticking_rows_are_painted_once_a_frame(desk: Screen) -> None:
    make_busy(desk)
    desk.page.evaluate("startCounting()")
    desk.wait_until(f"window.pace.told > {TICKS}")
    pace = desk.page.evaluate("window.pace")

    assert 1 < pace["paints"] <= pace["frames"] + 1
    shown = desk.page.evaluate(
        "[...document.querySelectorAll('[data-watch-rows] tr')]"
        ".filter(row => parseFloat(row.cells[3].textContent) > 100).length"
    )
    assert shown == ROWS
