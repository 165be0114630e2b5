"""The keyboard's focus stays where it was put, and a key that is held down acts once."""

from __future__ import annotations

from typing import Any

from tests.browser.screen import Screen

ROWS = "document.querySelectorAll('[data-open-orders] tbody tr').length"
UNDER_FOCUS = """() => {
  const focused = document.activeElement;
  return [focused.closest("[data-order]")?.dataset.order, focused.textContent];
}"""
# What is under focus after each list that a table of keyed rows is told to show.
SHOWN_ONE_AFTER_THE_OTHER = """async () => {
  const { KeyedRows } = await import("/static/trading/js/keyed-rows.js");
  const table = document.body.appendChild(document.createElement("table"));
  const rows = new KeyedRows(table.createTBody());
  const build = ({ id, changeable }) => {
    const row = document.createElement("tr");
    row.id = id;
    row.innerHTML = `<td><button>Cancel</button><button>Change</button></td>`;
    row.querySelectorAll("button")[1].disabled = !changeable;
    return row;
  };
  const order = (id, filled = 0, changeable = true) => ({ id, filled, changeable });
  const seen = [];
  const show = (...orders) => {
    rows.show(orders, build);
    const { id, textContent, tagName, parentNode } = document.activeElement;
    seen.push(tagName === "BUTTON" ? parentNode.parentNode.id + textContent : tagName + id);
  };
  show(order("a"), order("b"));
  table.querySelectorAll("#b button")[1].focus();
  show(order("c"), order("a"), order("b"));
  show(order("c"), order("b"));
  show(order("b"), order("c"), order("a"));
  show(order("b", 4), order("c"));
  show(order("c"), order("b", 5));
  show(order("c"), order("b", 5, false));
  show(order("c"));
  table.remove();
  return seen.slice(1);
}"""


def place(desk: Screen, limit: str) -> str:
    """The id of a new order of this person, sent beside the ticket; it is in the list."""
    before = desk.page.evaluate(ROWS)
    token = desk.page.input_value("[name=csrfmiddlewaretoken] >> nth=0")
    order: dict[str, Any] = desk.page.evaluate(
        """([token, limit_price]) => fetch("/v2/orders", {
            method: "POST",
            headers: {"Content-Type": "application/json", "X-CSRFToken": token},
            body: JSON.stringify({symbol: "AAPL", qty: "1", side: "buy", type: "limit",
                                  time_in_force: "day", limit_price}),
        }).then(answer => answer.json())""",
        [token, limit],
    )
    desk.wait_until(f"{ROWS} === {before + 1}")
    return str(order["id"])


def left(desk: Screen) -> list[str]:
    return [order["id"] for order in desk.ask_api("/v2/orders")]


def test_the_order_under_focus_is_the_one_that_is_canceled_and_no_other(desk):
    oldest, older = place(desk, "1.10"), place(desk, "1.20")
    desk.open_tab("orders")
    change = f"[data-order='{oldest}'] button:has-text('Change')"
    desk.page.wait_for_selector(f"{change}:enabled")
    desk.page.focus(change)

    newest = place(desk, "1.30")
    assert desk.page.evaluate(UNDER_FOCUS) == [oldest, "Change"]
    desk.page.keyboard.press("c")
    desk.wait_until(f"{ROWS} === 2")
    assert left(desk) == [newest, older]

    desk.page.keyboard.press("c")
    desk.wait_for_text("[data-toasts]", "The order under focus cannot be canceled now")
    desk.page.keyboard.press("Escape")
    desk.page.keyboard.press("c")
    desk.wait_until(f"{ROWS} === 1")
    assert left(desk) == [older]


def test_a_key_that_is_held_down_cancels_one_order_and_types_nothing_into_what_it_opened(desk):
    older, newest = place(desk, "1.10"), place(desk, "1.20")
    asked = []
    desk.page.on("request", lambda request: asked.append((request.method, request.url)))

    desk.page.keyboard.down("c")
    desk.wait_until(f"{ROWS} === 1")
    for _ in range(3):
        desk.page.keyboard.down("c")
    assert left(desk) == [older]

    canceled = [url.rsplit("/", 1)[1] for method, url in asked if method == "DELETE"]
    assert canceled == [newest]

    for _ in range(3):
        desk.page.keyboard.down("s")

    assert desk.page.evaluate("document.activeElement.name") == "amount"
    assert desk.page.input_value("#ticket-amount") == ""


def test_a_table_that_changes_keeps_the_focus_on_the_same_control(desk):
    assert desk.page.evaluate(SHOWN_ONE_AFTER_THE_OTHER) == [
        *["bChange"] * 5,
        "TRb",  # it may be changed no more
        "TBODY",
    ]
