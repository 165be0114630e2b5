"""Two windows of one person: what one chooses, the other shows before it sends anything more."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

ASKED_NOW_AND_THEN = re.compile(r"/v2/(clock|account|positions|orders\?)")


def test_a_window_of_an_account_that_is_traded_no_more_says_so_and_sends_nothing(desk):
    page, other = desk.page, desk.page.context.new_page()
    first = desk.ask_api("/v2/account")["account_number"]
    page.check("[data-one-click]")
    desk.fill_ticket(shares="1", limit="1.25")
    page.route(ASKED_NOW_AND_THEN, lambda route: route.abort())  # the order is to find it out
    other.goto(f"{desk.url}/accounts")
    other.click("summary:has-text('Open another')")
    other.fill("[name=open-name]", "Ideas")
    other.click("[value=open]")
    other.click("[value=choose]")
    other.wait_for_selector("[value=choose]")
    other.goto(desk.url)
    second = other.inner_text(".figure-account dd")
    assert second != first

    page.click("[data-ticket-submit]")

    page.wait_for_selector("[data-another-account]")
    desk.wait_for_text("[data-another-account]", f"This page shows {first}")
    assert "40910002" not in desk.text("[data-alerts]")
    desk.wait_for_text("[data-link]", "Closed")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(urlsplit(request.url).path))
    page.evaluate("dispatchEvent(new Event('focus'))")
    assert desk.ask_api("/api/market")
    assert asked == ["/api/market"]
    orders = other.evaluate("fetch('/v2/orders?status=all').then(answer => answer.json())")
    assert orders == []
    page.unroute(ASKED_NOW_AND_THEN)
    page.click("[data-another-account] button")
    desk.wait_for_text(".figure-account dd", second)
    desk.wait_until_live()

    other.goto(f"{desk.url}/accounts")
    other.click("[value=choose]")
    other.wait_for_selector("[value=choose]")
    page.evaluate("dispatchEvent(new Event('focus'))")
    page.wait_for_selector("[data-another-account]")
    page.keyboard.press("Escape")
    desk.wait_for_text(".figure-account dd", first)
    desk.errors.clear()  # the browser tells of what was refused
