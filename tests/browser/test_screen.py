"""A person trades in the browser: the whole platform, from the form to the fill and back."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from decimal import Decimal

from tests.browser.screen import DOUBT_UPDATES, amount
from trading.errors import OrderForced

# Keeps the market's heartbeats from the page, until it is told otherwise.
HOLD_HEARTBEATS = """
  const isBeat = ({data}) => typeof data === "string" && data.includes('"heartbeat"');
  window.WebSocket = class extends window.WebSocket {
    set onmessage(hear) {
      super.onmessage = (event) => (window.beating || !isBeat(event)) && hear(event);
    }
  };
"""
INSTANTS = ("timestamp", "next_open", "next_close")  # of the market's clock


def test_a_new_person_finds_buys_and_holds(desk):
    desk.choose("apple")
    desk.wait_for_text("[data-quote=symbol]", "AAPL")

    desk.fill_ticket(shares="5")
    desk.send()

    desk.wait_for_text("[data-toasts]", "Bought 5 AAPL")
    desk.wait_for_text("[data-positions] tbody tr", "AAPL")
    [position] = desk.ask_api("/v2/positions")
    account = desk.ask_api("/v2/account")
    assert position["qty"] == "5"
    assert desk.figure("cash") == Decimal(account["cash"]).quantize(Decimal("0.01"))
    assert Decimal(account["cash"]) + Decimal(position["cost_basis"]) == 100_000


def test_the_figures_on_the_screen_add_up(desk):
    desk.choose("msft")
    desk.fill_ticket(shares="3")
    desk.send()
    desk.wait_for_text("[data-positions] tbody tr", "MSFT")
    desk.wait_until("document.querySelector('[data-figure=holdings]').textContent !== '–'")

    shown = desk.page.evaluate(
        "['equity', 'cash', 'holdings', 'day'].map(name => "
        "document.querySelector(`[data-figure=${name}]`).textContent)"
    )
    equity, cash, holdings, day = map(amount, shown)

    assert equity == cash + holdings
    assert day == equity - 100_000


def test_a_margin_call_is_shown_and_the_rest_of_the_screen_goes_on(desk):
    desk.choose("apple")
    desk.fill_ticket(shares="3")
    desk.send()
    desk.wait_for_text("[data-positions] tbody tr", "AAPL")

    def call(route):
        """As of an account that fell below its margin, which takes a fall of the market to have."""
        account = route.fetch().json()
        route.fulfill(json=account | {"margin_call_due_at": "2026-01-06T21:00:00Z"})

    desk.page.route("**/v2/account", call)
    desk.page.reload()

    desk.wait_for_text("[data-figure=margin-call]", "due 2026-01-06 16:00")
    desk.wait_for_text("[data-positions] tbody tr", "AAPL")
    desk.wait_until("document.querySelector('[data-figure=day]').textContent !== '–'")
    desk.wait_until_live()


def tomorrow(clock):
    """What the market's clock says a day after this."""
    instants = {name: datetime.fromisoformat(clock[name]) for name in INSTANTS}
    later = {name: (at + timedelta(days=1)).isoformat() for name, at in instants.items()}
    return clock | later


def test_a_limit_order_waits_with_its_reason_until_canceled(desk):
    desk.fill_ticket(shares="10", limit="1.50")
    desk.send()
    desk.open_tab("orders")
    desk.wait_for_text("[data-open-orders] tbody tr", "is above the limit")
    desk.wait_until(
        "document.querySelector('[data-figure=buying-power]').textContent === '99,985.00'"
    )

    sent = "[data-open-orders] tbody [data-label=Sent]"
    assert re.fullmatch(r"\d\d:\d\d:\d\d", desk.text(sent))
    clock = desk.ask_api("/v2/clock")
    today = clock["timestamp"][:10]
    desk.page.route("**/v2/clock", lambda route: route.fulfill(json=tomorrow(clock)))
    desk.page.evaluate("dispatchEvent(new Event('focus'))")
    desk.wait_for_text(sent, f"{today} ")

    desk.page.click("[data-open-orders] tbody button")

    desk.wait_for_text("[data-toasts]", "was canceled")
    desk.wait_until(
        "document.querySelector('[data-figure=buying-power]').textContent === '100,000.00'"
    )
    desk.open_tab("history")
    desk.wait_for_text("[data-history] tbody tr", "Canceled")
    desk.wait_for_text("[data-history] tbody [data-label=Finished]", f"{today} ")
    assert desk.ask_api("/v2/orders") == []


def test_the_review_tells_what_the_server_would_make_of_the_order(desk):
    desk.fill_ticket(shares="4", limit="1.25")
    desk.page.click("[data-ticket-submit]")

    desk.wait_for_text("[data-review-lines]", "Held for it5.00")
    desk.wait_for_text("[data-review-lines]", "Buying power after99,995.00")
    desk.page.keyboard.press("Escape")
    assert not desk.page.is_visible("[data-review]")
    assert desk.page.evaluate("document.activeElement.name") == "amount"
    desk.page.fill("#ticket-limit", "1,25")
    desk.wait_for_text("[data-ticket-problem]", "Write decimals with a point")
    assert desk.ask_api("/v2/orders?status=all") == []


def test_a_bracket_shows_its_exits_under_it(desk):
    desk.fill_ticket(shares="2", limit="1.50")
    desk.page.fill("#ticket-profit", "3.00")
    desk.page.fill("#ticket-loss", "1.25")
    desk.send()
    desk.open_tab("orders")
    desk.wait_for_text("[data-open-orders] tbody tr:nth-child(2)", "Take profit")
    desk.wait_for_text("[data-open-orders] tbody tr:nth-child(3)", "Stop loss")
    [entry] = desk.ask_api("/v2/orders?nested=true")
    assert [leg["status"] for leg in entry["legs"]] == ["held", "held"]

    desk.page.click("[data-open-orders] tbody tr:nth-child(3) button")

    desk.wait_until("document.querySelectorAll('[data-open-orders] tbody tr').length === 0")
    assert desk.ask_api("/v2/orders") == []


def test_what_is_held_gets_a_profit_target_and_a_stop(desk):
    desk.fill_ticket(shares="4")
    desk.send()
    desk.page.click("[data-amount-by]")
    desk.wait_for_text("[data-amount-label]", "Dollars")
    desk.page.click("[data-positions] tbody button:has-text('Exits')")
    desk.wait_for_text("[data-ticket-submit]", "Review sell order")
    assert desk.text("[data-amount-label]") == "Shares"
    assert desk.text("[data-amount-by]") == "Use dollars"
    assert desk.text("[data-amount-chips]") == "25% 50% All"
    assert desk.page.input_value("#ticket-amount") == "4"
    assert not desk.page.is_visible("[data-sides]")
    desk.page.fill("#ticket-loss", "9000")
    desk.page.fill("#ticket-profit", "8000")
    desk.wait_for_text("[data-ticket-problem]", "The stop has to lie below")
    desk.page.fill("#ticket-loss", "1.25")
    desk.page.click("[data-ticket-submit]")
    desk.wait_for_text("[data-review-lines]", "TypeTwo exits, one cancels the other")
    desk.page.click("[data-review-send]")

    desk.open_tab("orders")
    desk.wait_for_text("[data-open-orders] tbody tr:nth-child(1)", "Take profit")
    desk.wait_for_text("[data-open-orders] tbody tr:nth-child(2)", "Stop loss")
    [target] = desk.ask_api("/v2/orders?nested=true")
    [stop] = target["legs"]
    assert (target["order_class"], target["side"], target["qty"]) == ("oco", "sell", "4")
    assert (target["limit_price"], stop["stop_price"]) == ("8000", "1.25")
    [position] = desk.ask_api("/v2/positions")
    assert (position["qty"], position["qty_available"]) == ("4", "0")

    desk.page.click("[data-open-orders] tbody tr:nth-child(1) button")

    desk.wait_until("document.querySelectorAll('[data-open-orders] tbody tr').length === 0")


def test_a_resting_order_is_changed(desk):
    desk.fill_ticket(shares="10", limit="1.50")
    desk.send()
    desk.open_tab("orders")
    desk.wait_for_text("[data-open-orders] tbody tr", "Working")
    desk.page.click("[data-open-orders] tbody button:has-text('Change')")
    desk.page.fill("#change-qty", "20")
    desk.page.fill("#change-limit_price", "1,25")
    desk.page.click("[data-change-send]")
    desk.wait_for_text("[data-alerts]", "Enter numbers, decimals with a point.")
    desk.page.click("[data-open-orders] tbody button:has-text('Change')")
    desk.page.fill("#change-qty", "20")
    desk.page.fill("#change-limit_price", "1.25")
    desk.page.click("[data-change-send]")

    desk.wait_for_text("[data-toasts]", "was replaced")
    desk.wait_for_text("[data-open-orders] tbody tr", "0 / 20")
    [order] = desk.ask_api("/v2/orders")
    assert (order["qty"], order["limit_price"]) == ("20", "1.25")


def test_a_trailing_stop_is_sent_with_its_trail(desk):
    desk.fill_ticket(shares="1")
    desk.page.check("[name=type][value=trailing_stop]")
    desk.page.fill("#ticket-trail", "50")
    desk.send()
    desk.open_tab("orders")
    desk.wait_for_text("[data-open-orders] tbody tr", "50 % trail")
    [order] = desk.ask_api("/v2/orders")
    assert (order["type"], order["trail_percent"]) == ("trailing_stop", "50")


def test_sending_twice_makes_one_order(desk):
    desk.fill_ticket(shares="1", limit="1.25")
    desk.page.click("[data-ticket-submit]")

    desk.page.dblclick("[data-review-send]")

    desk.open_tab("orders")
    desk.wait_for_text("[data-open-orders] tbody tr", "Working")
    assert len(desk.ask_api("/v2/orders?status=all")) == 1


def test_a_lost_answer_is_asked_for_and_the_order_stays_one(desk):
    def lose_answer(route):
        if route.request.method == "POST":
            route.fetch()
            route.abort()
        else:
            route.continue_()

    desk.page.route("**/v2/orders", lose_answer)
    desk.fill_ticket(shares="1", limit="1.25")
    desk.send()

    desk.open_tab("orders")
    desk.wait_for_text("[data-open-orders] tbody tr", "Working")
    assert len(desk.ask_api("/v2/orders?status=all")) == 1
    desk.errors.clear()  # the browser tells of the answer that was lost


def test_a_refusal_of_an_order_sent_at_once_stays_beside_the_ticket(desk):
    refusal = {"code": 40310000, "message": "not today"}
    desk.page.route("**/v2/orders", lambda route: route.fulfill(status=403, json=refusal))
    desk.page.check("[data-one-click]")
    desk.fill_ticket(shares="1", limit="1.25")
    desk.page.click("[data-ticket-submit]")

    desk.wait_for_text("[data-ticket-problem]", "Not today.")
    asked = desk.text("[data-touch-ask]")
    desk.wait_until(f"document.querySelector('[data-touch-ask]').textContent !== '{asked}'")
    assert desk.text("[data-ticket-problem]") == "Not today."
    desk.page.fill("#ticket-amount", "2")
    desk.wait_until("document.querySelector('[data-ticket-problem]').textContent === ''")
    desk.errors.clear()  # the browser tells of every 403


def test_a_ticket_changed_after_its_order_was_lost_to_sight_makes_no_other_and_says_so(desk):
    def lose_line(route):
        """The order arrives, its answer does not, and neither can it be asked for."""
        if route.request.method == "POST":
            route.fetch()
        route.abort()

    desk.page.route("**/v2/orders", lose_line)
    desk.page.route("**/v2/orders:by_client_order_id**", lose_line)
    desk.fill_ticket(shares="1", limit="1.25")
    desk.send()
    desk.wait_for_text("[data-review-problem]", "Whether it arrived is not known")
    asked = desk.text("[data-touch-ask]")
    desk.wait_until(f"document.querySelector('[data-touch-ask]').textContent !== '{asked}'")
    assert "Whether it arrived is not known" in desk.text("[data-review-problem]")
    desk.page.unroute("**/v2/orders")
    desk.page.unroute("**/v2/orders:by_client_order_id**")
    desk.page.click("[data-review-back]")

    desk.fill_ticket(shares="2", limit="1.25")
    desk.send()
    desk.wait_for_text("[data-review-problem]", "What the ticket says now was not sent")
    [order] = desk.ask_api("/v2/orders?status=all")
    assert order["qty"] == "1"

    desk.page.click("[data-review-send]")
    desk.open_tab("orders")
    desk.wait_until("document.querySelectorAll('[data-open-orders] tbody tr').length === 2")
    desk.errors.clear()  # the browser tells of what was lost and refused


def test_a_refusal_says_its_code_and_a_sentence(desk):
    account = desk.ask_api("/v2/account")  # as which the page goes on to know it
    desk.page.route("**/v2/account", lambda route: route.fulfill(json=account))
    desk.page.evaluate(
        """token => fetch("/v2/account/configurations", {
            method: "PATCH",
            headers: {"Content-Type": "application/json", "X-CSRFToken": token},
            body: '{"suspend_trade": true}'})""",
        desk.page.input_value("[name=csrfmiddlewaretoken] >> nth=0"),
    )
    desk.fill_ticket(shares="1", limit="1.25")
    desk.send()

    desk.wait_for_text("[data-alerts]", "New orders are rejected by user request. (403 / 40310000)")
    desk.open_tab("log")
    desk.wait_for_text("[data-log]", "40310000")
    desk.errors.clear()  # the browser tells of every 403


def test_the_ticket_says_why_it_cannot_be_sent(desk):
    for side, shares, said in [
        ("buy", "0", "Enter a number of shares"),
        ("buy", "1000000", "Not enough buying power"),
        ("sell", "1", "does not sell short"),
    ]:
        desk.fill_ticket(side=side, shares=shares)

        desk.wait_for_text("[data-ticket-problem]", said)
        assert desk.page.is_disabled("[data-ticket-submit]")


def test_the_keyboard_reaches_everything(desk):
    keyboard = desk.page.keyboard

    keyboard.press("?")
    assert desk.page.is_visible("[data-shortcuts]")
    keyboard.press("Escape")
    keyboard.press("s")
    assert desk.page.is_checked(".side-sell input")
    keyboard.press("Escape")
    keyboard.press("b")
    keyboard.type("2")
    desk.page.wait_for_selector("[data-ticket-submit]:enabled")
    keyboard.press("Enter")
    desk.wait_until_read()
    keyboard.press("Enter")
    desk.wait_for_text("[data-toasts]", "Bought 2")
    keyboard.press("Escape")

    keyboard.press("w")
    first = desk.page.evaluate("document.activeElement.closest('tr').dataset.symbol")
    keyboard.press("ArrowDown")
    keyboard.press("Enter")

    chosen = desk.text("[data-quote=symbol]")
    assert chosen not in ("", first)
    assert chosen == desk.page.evaluate("document.activeElement.closest('tr').dataset.symbol")


def test_canceling_all_asks_first(desk):
    for limit in ("1.10", "1.20"):
        desk.fill_ticket(shares="1", limit=limit)
        desk.send()
        desk.page.wait_for_selector("[data-review]", state="hidden")
    desk.open_tab("orders")
    desk.wait_until("document.querySelectorAll('[data-open-orders] tbody tr').length === 2")

    desk.page.keyboard.press("Shift+X")
    desk.page.click("[data-confirm] [value=no]")
    assert len(desk.ask_api("/v2/orders")) == 2
    desk.page.keyboard.press("Shift+X")
    desk.page.click("[data-confirm-yes]")

    desk.wait_for_text("[data-open-orders-empty]", "No open orders")
    assert desk.ask_api("/v2/orders") == []


def test_canceling_all_tells_of_an_order_that_its_owner_cannot_cancel(desk):
    desk.fill_ticket(shares="1", limit="1.10")
    desk.send()
    desk.page.wait_for_selector("[data-review]", state="hidden")
    [order] = desk.ask_api("/v2/orders")

    def keep(route):
        """As the server answers of a forced order, which takes a fall of the market to have."""
        if route.request.method == "DELETE":
            error = OrderForced(order["id"])
            entry = {"id": order["id"], "status": error.http_status, "body": error.body()}
            route.fulfill(status=207, json=[entry])
        else:
            route.continue_()

    desk.page.route("**/v2/orders", keep)
    desk.page.keyboard.press("Shift+X")
    desk.page.click("[data-confirm-yes]")

    desk.wait_for_text("[data-alerts]", "only an operator can cancel it")


def test_the_watchlist_is_kept_by_the_server(desk):
    before = desk.page.locator("[data-watch-rows] tr").count()
    desk.page.click("[data-watch-add]")
    desk.page.keyboard.type("ford")
    desk.page.locator("[data-search-results] button", has_text="Watch").first.click()
    desk.wait_until(f"document.querySelectorAll('[data-watch-rows] tr').length === {before + 1}")

    desk.page.reload()
    desk.wait_until_live()

    assert desk.page.locator("[data-watch-rows] tr").count() == before + 1
    removed = []
    desk.page.on("request", lambda request: removed.append(request.method == "DELETE"))
    desk.page.focus("[data-watch-rows] tr:first-child button")
    for _ in range(4):
        desk.page.keyboard.down("Delete")  # as a key repeats that nobody let go
    desk.page.keyboard.up("Delete")
    symbol = desk.page.locator("[data-watch-rows] tr").last.get_attribute("data-symbol")
    desk.page.click("[data-watch-edit]")
    desk.page.click(f"[aria-label='Remove {symbol}']")
    desk.page.wait_for_selector(f"tr[data-symbol={symbol}]", state="detached")
    assert desk.page.locator("[data-watch-rows] tr").count() == before - 1
    assert sum(removed) == 2


def test_the_screen_comes_up_where_its_first_requests_fail(desk):
    failed = set()

    def fail_once(route):
        kind = route.request.url.split("/v2/")[1].split("?")[0]
        if kind in failed:
            route.continue_()
        else:
            failed.add(kind)
            route.abort()

    desk.page.route(re.compile("/v2/(assets|watchlists|orders|account|stocks/bars)"), fail_once)
    desk.page.reload()

    desk.wait_until_live()
    desk.wait_until("document.querySelector('[data-watch-rows] .watch-name').textContent !== ''")
    desk.wait_until("document.querySelector('[data-legend]').textContent !== ''")
    desk.open_tab("orders")
    desk.wait_for_text("[data-open-orders-empty]", "No open orders")
    assert {"assets", "watchlists", "orders", "account", "stocks/bars"} <= failed
    desk.errors.clear()  # the browser tells of what failed


def test_prices_are_live_only_once_a_heartbeat_has_said_so(desk):
    desk.page.add_init_script(HOLD_HEARTBEATS)
    desk.page.reload()
    desk.wait_until("parseFloat(document.querySelector('[data-touch-ask]').textContent) > 0")
    desk.wait_until("document.querySelector('[data-watch-rows] tr[data-stale]') !== null")
    desk.fill_ticket(shares="1")

    desk.wait_for_text("[data-ticket-problem]", "Quotes are not live: Connecting")
    assert desk.text("[data-link]") == "Connecting"
    desk.page.evaluate("window.beating = true")

    desk.wait_until_live()
    desk.page.wait_for_selector("[data-ticket-submit]:not(:disabled)")
    desk.wait_until("document.querySelector('[data-watch-rows] tr[data-stale]') === null")


def test_a_server_that_may_lack_updates_of_the_account_is_not_called_live(desk):
    desk.page.add_init_script(DOUBT_UPDATES)
    desk.page.reload()
    desk.wait_until_live()
    desk.fill_ticket(shares="1")

    desk.page.evaluate("window.doubting = true")
    desk.wait_for_text("[data-link]", "Catching up")
    assert desk.page.is_disabled("[data-ticket-submit]")
    desk.page.evaluate("window.doubting = false")

    desk.wait_until_live()
    desk.page.wait_for_selector("[data-ticket-submit]:not(:disabled)")


def test_the_screen_tells_that_the_server_is_gone_and_when_it_is_back(desk, platform):
    desk.fill_ticket(shares="1")

    platform.stop()
    try:
        desk.page.wait_for_selector("[data-link][data-kind=reconnecting]")
        desk.wait_for_text("[data-ticket-problem]", "Quotes are not live")
        assert desk.page.is_disabled("[data-ticket-submit]")
        assert desk.page.locator("[data-watch-rows] tr[data-stale]").count() > 0
    finally:
        platform.__enter__()

    desk.page.wait_for_selector("[data-link][data-kind=simulated]")
    desk.page.wait_for_selector("[data-ticket-submit]:not(:disabled)")
    desk.wait_until("document.querySelector('[data-watch-rows] tr[data-stale]') === null")
    desk.open_tab("log")
    desk.wait_for_text("[data-log]", "Connection is live again")
    desk.errors.clear()  # the browser tells of each connection that failed


def test_an_api_key_is_shown_once_and_revoked(desk):
    desk.page.click("[data-menu] summary")
    desk.page.click("[data-open-keys]")
    desk.page.fill("#key-name", "a robot")
    create = "document.querySelector('[data-keys-form] button').click()"
    desk.page.evaluate(f"() => {{ {create}; {create}; }}")
    desk.page.wait_for_selector("[data-new-key]")
    desk.page.wait_for_selector("[data-keys-form] button:enabled")
    assert len(desk.ask_api("/api/keys")) == 1
    secret = desk.text("[data-new-key-secret]")
    key_id = desk.text("[data-new-key-id]")
    assert len(secret) > 20

    desk.page.click("[data-keys] [aria-label=Close]")
    desk.page.click("[data-menu] summary")
    desk.page.click("[data-open-keys]")
    desk.wait_for_text("[data-keys-rows] tr", "a robot")
    assert secret not in desk.page.content()

    desk.page.click(f"[aria-label='Revoke {key_id}']")
    desk.page.click("[data-confirm-yes]")
    desk.wait_for_text("[data-keys-rows] tr", "revoked")
