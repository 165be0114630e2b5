"""The chart shows the bars of the symbol that stands over it, or none."""

from __future__ import annotations

LEGEND = "document.querySelector('[data-legend]').textContent"
ROWS = "document.querySelectorAll('[data-bars] tbody tr').length"


def test_without_the_chart_library_a_table_stands_in_its_place(desk):
    desk.page.route("**/lightweight-charts*", lambda route: route.abort())
    desk.page.reload()

    desk.page.wait_for_selector("[data-bars] tbody tr")

    desk.page.wait_for_selector(".chart-credit", state="hidden")
    assert not desk.page.is_visible("[data-canvas]")
    assert desk.page.locator("[data-bars] tbody tr").count() > 20
    desk.errors.clear()  # the browser tells of what was not loaded


def test_no_symbol_stands_over_the_bars_of_another_one(desk):
    desk.wait_until(f"{LEGEND} !== ''")
    desk.page.click("[data-chart-table]")
    desk.wait_until(f"{ROWS} > 20")

    desk.page.route("**/v2/stocks/bars**", lambda route: route.abort())
    desk.choose("microsoft")
    desk.wait_for_text("[data-chart-message]", "No bars: Openbell cannot be reached.")
    assert desk.page.evaluate(f"[{LEGEND}, {ROWS}]") == ["", 0]

    desk.page.unroute("**/v2/stocks/bars**")
    desk.wait_until(f"{LEGEND} !== ''")
    desk.wait_until(f"{ROWS} > 20")
    assert not desk.page.is_visible("[data-chart-message]")
    desk.errors.clear()  # the browser tells of what was not loaded
