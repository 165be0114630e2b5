"""What can be measured of how the screen looks: contrast, targets, width, in both themes."""

from __future__ import annotations

from typing import Any

import pytest

from tests.browser.screen import Screen

TARGET_LEAST = 44  # CSS pixels of a thumb's target
CONTRAST_LEAST = 4.5  # WCAG AA, text

# Every visible text whose contrast with what is behind it is too low, as "selector: ratio".
FAINT_TEXTS = """least => {
  const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  const rgba = color => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = ([r, g, b, a], under) => [r, g, b].map((c, i) => c * a + under[i] * (1 - a));
  const behind = node => {
    if (!node) return [255, 255, 255];
    const color = rgba(getComputedStyle(node).backgroundColor);
    return color[3] === 1 ? color.slice(0, 3) : over(color, behind(node.parentElement));
  };
  const light = color => {
    const [r, g, b] = color.map(c => c / 255)
      .map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const faint = [];
  for (const node of document.querySelectorAll("body *")) {
    const own = [...node.childNodes].some(c => c.nodeType === 3 && c.textContent.trim());
    if (!own || !node.checkVisibility({opacityProperty: true})) continue;
    if (node.closest(":disabled, .door-story")) continue;  // the story is on a gradient
    const back = behind(node);
    const [one, two] = [light(over(rgba(getComputedStyle(node).color), back)), light(back)];
    const ratio = (Math.max(one, two) + 0.05) / (Math.min(one, two) + 0.05);
    if (ratio < least) faint.push(`${node.className || node.tagName}: ${ratio.toFixed(2)}`);
  }
  return [...new Set(faint)];
}"""

# The same where all prices have just moved, first stale ones and then live ones.
FAINT_WHERE_LIT = f"""async least => {{
  const {{ light }} = await import("/static/trading/js/flash.js");
  const seen = new Set();
  const prices = "[data-watch-rows] td:not(:nth-child(3)) .cell-main";
  const cells = [...document.querySelectorAll(prices)];
  for (const stale of [true, false]) {{
    for (const node of document.querySelectorAll("[data-account], .chart, .watch-table tr")) {{
      node.toggleAttribute("data-stale", stale);
    }}
    document.querySelector("[data-link]").dataset.kind = stale ? "stale" : "simulated";
    for (const moved of ["up", "down"]) {{
      const lit = cells.map(cell => light(cell, moved));
      for (const each of lit) each.currentTime = 0;
      for (const faint of ({FAINT_TEXTS})(least)) seen.add(faint);
      for (const each of lit) each.cancel();
    }}
  }}
  return [...seen];
}}"""

SMALL_TARGETS = """least => [...document.querySelectorAll("button, a, input, select, summary")]
  .filter(node => node.checkVisibility() && !node.closest(".chart-credit, .hidden"))
  .map(node => [node, (node.closest("label") ?? node).getBoundingClientRect()])
  .filter(([, box]) => box.height > 0 && box.height < least - 0.5)
  .map(([node, box]) => `${node.className || node.name || node.tagName}: ${box.height}`)"""

# Keeps, with each price that changes, how many of them are alight.
WATCH_MOVES = """() => {
  const rows = document.querySelector("[data-watch-rows]");
  window.moves = [];
  new MutationObserver(() => window.moves.push(rows.getAnimations({subtree: true}).length))
    .observe(rows, {childList: true, subtree: true});
}"""
PRICES_WATCHED = 20


@pytest.fixture(params=["light", "dark"])
def themed(request: Any, browser: Any, platform: Any) -> Any:
    context = browser.new_context(
        viewport={"width": 1440, "height": 900}, color_scheme=request.param
    )
    yield Screen(context.new_page(), platform.url)
    context.close()


def test_text_is_legible_in_both_themes(themed):
    themed.page.goto(f"{themed.url}/login")
    assert themed.page.evaluate(FAINT_TEXTS, CONTRAST_LEAST) == []

    themed.sign_up()
    for limit in ("", "1.50"):
        themed.fill_ticket(shares="3", limit=limit)
        themed.send()
        themed.page.wait_for_selector("[data-review]", state="hidden")
    themed.wait_for_text("[data-positions] tbody tr", "3")
    assert themed.page.evaluate(FAINT_WHERE_LIT, CONTRAST_LEAST) == []

    for tab in ("positions", "orders", "history", "log"):
        themed.open_tab(tab)
        assert themed.page.evaluate(FAINT_TEXTS, CONTRAST_LEAST) == []
    themed.page.check("[name=side][value=sell]")
    assert themed.page.evaluate(FAINT_TEXTS, CONTRAST_LEAST) == []


def test_the_theme_is_switched_and_kept(desk):
    before = desk.page.evaluate("getComputedStyle(document.body).backgroundColor")
    desk.page.click("[data-theme-switch]")
    after = desk.page.evaluate("getComputedStyle(document.body).backgroundColor")
    desk.page.reload()

    assert after != before
    assert desk.page.evaluate("getComputedStyle(document.body).backgroundColor") == after


def test_no_width_scrolls_sideways_and_a_phone_shows_one_part_with_room_for_thumbs(desk):
    for width in (320, 768, 1024, 1280, 1920):
        desk.page.set_viewport_size({"width": width, "height": 800})
        assert desk.page.evaluate("document.documentElement.scrollWidth") <= width

    desk.page.set_viewport_size({"width": 390, "height": 844})

    for view in ("watch", "chart", "trade", "portfolio"):
        desk.page.click(f"[data-show={view}]")

        assert desk.page.locator("main > section:visible").count() == 1
        assert desk.page.evaluate("document.documentElement.scrollWidth") <= 390
        assert desk.page.evaluate(SMALL_TARGETS, TARGET_LEAST) == [], view


def test_whoever_asks_for_calm_sees_nothing_move(desk):
    desk.page.evaluate(WATCH_MOVES)
    desk.wait_until("window.moves.some(count => count > 0)")

    desk.page.emulate_media(reduced_motion="reduce")
    desk.wait_until("document.getAnimations().length === 0")
    desk.page.evaluate("window.moves.length = 0")
    desk.wait_until(f"window.moves.length > {PRICES_WATCHED}")
    assert not any(desk.page.evaluate("window.moves"))
    assert desk.page.evaluate("document.getAnimations().length") == 0
