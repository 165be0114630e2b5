"""How smoothly the trading screen moves while each of its 200 rows ticks many times a second.

The real page of a real Openbell in a real Chromium, with its chart; in place of the market's socket
stands one in the page that brings as many quotes and trades as the page's timers let it. Says how
many frames a second the page showed and how often it painted prices and the chart; goal: 60 frames,
at most one paint in each. Without a graphics card Chromium draws by software, and the processor
bounds the frames.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path

from playwright.sync_api import sync_playwright

from tests.browser.conftest import ARGUMENTS, CHROMIUM
from tests.browser.screen import Screen
from tests.browser.test_pace import make_busy, measured
from tests.running import RunningPlatform

SECONDS = 10.0


def main() -> None:
    executable = next(filter(None, map(shutil.which, CHROMIUM)))
    with (
        tempfile.TemporaryDirectory() as home,
        RunningPlatform(Path(home)) as platform,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=executable, args=ARGUMENTS)
        page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
        report(Screen(page, platform.url))
        browser.close()


def report(screen: Screen) -> None:
    screen.sign_up()
    make_busy(screen)
    screen.page.evaluate("startCounting()")
    time.sleep(SECONDS)
    pace = measured(screen)
    seconds = pace["seconds"]
    print(f"messages a second      {pace['told'] / seconds:10,.0f}")
    print(f"frames a second        {pace['frames'] / seconds:10.1f}   (goal: 60)")
    print(f"paints a frame         {pace['paints'] / pace['frames']:10.2f}   (goal: at most 1)")
    print(f"chart paints a frame   {pace['legends'] / pace['frames']:10.2f}   (goal: at most 1)")


if __name__ == "__main__":
    main()
