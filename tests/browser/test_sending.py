"""An order on its way from the ticket to the server: sent by whoever has read it, and told of."""

from __future__ import annotations

from tests.browser.screen import DOUBT_UPDATES


def test_a_key_that_is_held_down_places_no_order_that_nobody_read(desk):
    keyboard = desk.page.keyboard
    desk.fill_ticket(shares="1", limit="1.25")
    desk.page.wait_for_selector("[data-ticket-submit]:enabled")
    desk.page.focus("#ticket-amount")
    keyboard.down("Enter")
    desk.wait_until_read()

    for _ in range(3):
        keyboard.down("Enter")  # as a key repeats that nobody let go

    desk.page.wait_for_selector("[data-review-send]:enabled:focus")
    keyboard.up("Enter")
    keyboard.press("Enter")
    desk.page.wait_for_selector("[data-review]", state="hidden")
    assert desk.page.evaluate("document.activeElement.matches('[data-ticket]')")
    desk.open_tab("orders")
    desk.wait_for_text("[data-open-orders] tbody tr", "Working")
    assert len(desk.ask_api("/v2/orders?status=all")) == 1


def test_that_nobody_knows_what_became_of_an_order_is_said_until_it_is_changed(desk):
    desk.page.add_init_script(DOUBT_UPDATES)
    desk.page.reload()
    desk.wait_until_live()
    desk.page.route("**/v2/orders", lambda route: route.abort())
    desk.page.route("**/v2/orders:by_client_order_id**", lambda route: route.abort())
    desk.fill_ticket(shares="1")
    desk.send()
    doubt = "Whether it arrived is not known"
    desk.wait_for_text("[data-review-problem]", doubt)
    desk.wait_for_text("[data-alerts]", doubt)
    desk.page.wait_for_selector("[data-review-send]:enabled:focus")

    desk.page.evaluate("window.doubting = true")
    desk.wait_for_text("[data-review-problem]", "Quotes are not live")
    assert doubt in desk.text("[data-review-problem]")
    desk.page.keyboard.press("Escape")
    assert not desk.page.is_visible("[data-review]")
    assert doubt in desk.text("[data-ticket-problem]")

    desk.page.fill("#ticket-amount", "2")
    assert doubt not in desk.text("[data-ticket-problem]")
    desk.errors.clear()  # the browser tells of what was lost
