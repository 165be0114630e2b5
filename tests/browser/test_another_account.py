"""Two windows of one person: what is done in one, the other knows before it sends anything more."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from tests.browser.screen import PASSWORD

API = re.compile(r"/(v2|api)/")


def send_orders_only(route):
    """What the page asks for now and then says its account, too: the order is to find it out."""
    if route.request.method == "POST":
        route.continue_()
    else:
        route.abort()


def test_a_window_of_an_account_that_is_traded_no_more_says_so_and_sends_nothing(desk):
    page, other = desk.page, desk.page.context.new_page()
    first = desk.ask_api("/v2/account")["account_number"]
    page.check("[data-one-click]")
    desk.fill_ticket(shares="1", limit="1.25")
    page.wait_for_selector("[data-ticket-submit]:enabled")
    page.route(API, send_orders_only)
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
    page.unroute(API)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(urlsplit(request.url).path))
    page.evaluate("dispatchEvent(new Event('focus'))")
    assert desk.ask_api("/api/market")
    assert asked == ["/api/market"]
    orders = other.evaluate("fetch('/v2/orders?status=all').then(answer => answer.json())")
    assert orders == []
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


def test_a_window_trades_on_after_its_person_logged_in_anew_in_another_one(desk):
    page, other = desk.page, desk.page.context.new_page()
    name = page.text_content("[data-menu] strong")
    page.check("[data-one-click]")
    desk.fill_ticket(shares="1", limit="1.25")
    page.route(API, lambda route: route.abort())  # so that it asks nothing between out and in
    other.goto(desk.url)
    other.click("[data-menu] summary")
    other.click("button:has-text('Log out')")
    other.goto(f"{desk.url}/login")
    other.fill("[name=username]", name)
    other.fill("[name=password]", PASSWORD)
    other.click("button[type=submit]")
    other.wait_for_selector("[data-menu]")
    page.unroute(API)

    page.click("[data-ticket-submit]")
    desk.open_tab("orders")
    desk.wait_for_text("[data-open-orders] tbody tr", "Working")
    page.click("[data-menu] summary")
    page.click("button:has-text('Log out')")
    page.wait_for_selector("button:has-text('Log in')")
    desk.errors.clear()  # the browser tells of what was aborted
