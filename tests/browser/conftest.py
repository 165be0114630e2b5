"""A real Openbell and a real Chromium; where there is no Chromium, loudly nothing."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from tests.browser.screen import Screen
from tests.running import RunningPlatform

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
# No sandbox: containers run as root. The rest keeps the browser from calling home.
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="package")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPlatform]:
    with RunningPlatform(tmp_path_factory.mktemp("openbell")) as running:
        yield running


# No longer than this folder: while it lives, Playwright's loop is the only one this thread can run.
@pytest.fixture(scope="package")
def browser() -> Iterator[Any]:
    executable = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if executable is None:
        pytest.skip("NO CHROMIUM: the trading screen is not tested (make test brings it on Debian)")
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=executable, args=ARGUMENTS)
        yield chromium
        chromium.close()


@pytest.fixture
def screen(browser: Any, platform: RunningPlatform) -> Iterator[Screen]:
    """A window nobody is logged in to; the test fails if its page had an error."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    screen = Screen(context.new_page(), platform.url)
    yield screen
    errors = screen.errors
    context.close()
    assert errors == []


@pytest.fixture
def desk(screen: Screen) -> Screen:
    """The trading screen of somebody who has just signed up, live."""
    screen.sign_up()
    return screen
