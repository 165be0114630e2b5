"""What the screen makes of trades that are taken back.

The market of these tests takes nothing back, so its words are put into a frame that arrives.
"""

from __future__ import annotations

# `told` are messages to come with the next quote; `asked` is what the page sends.
TELL = """
  window.told = [];
  window.asked = [];
  const with_told = (data) => {
    const isQuote = typeof data === "string" && data.includes('"T":"q"');
    if (window.told.length === 0 || !isQuote) return data;
    return JSON.stringify([...JSON.parse(data), ...window.told.splice(0)]);
  };
  window.WebSocket = class extends window.WebSocket {
    set onmessage(hear) {
      super.onmessage = ({data}) => hear({data: with_told(data)});
    }
    send(text) {
      window.asked.push(JSON.parse(text));
      super.send(text);
    }
  };
"""


def cancel(desk, number: int, price: float) -> None:
    """Say that the last trade never was, as word `number` on the symbol's trades."""
    at = "2026-01-05T15:00:00.000000Z"
    # Of a feed epoch that the market's own trades never get to: this stays the last price.
    last = {"i": 7, "p": price, "s": 1, "t": at, "seq": 7, "epoch": 1, "rank": [9_999, 1, number]}
    told = {"T": "x", "S": "AAPL", "i": 8, "p": 1, "s": 1, "a": "C", "t": at, "last": last}
    desk.page.evaluate("told => window.told.push(told)", told | {"seq": number, "epoch": 1})


def test_a_price_that_never_was_leaves_the_screen_and_a_lost_word_of_one_is_noticed(desk):
    desk.page.add_init_script(TELL)
    desk.page.reload()
    desk.wait_until_live()
    desk.choose("apple")
    desk.wait_for_text("[data-quote=symbol]", "AAPL")

    cancel(desk, 1, 1234.5)
    desk.wait_for_text("[data-quote=last]", "1,234.50")
    desk.page.evaluate(
        "window.resyncs = () => asked.filter(each => each.action === 'resync').length"
    )
    before = desk.page.evaluate("resyncs()")

    cancel(desk, 1_000, 4321.5)  # many were lost
    desk.wait_for_text("[data-quote=last]", "4,321.50")
    desk.wait_until(f"resyncs() > {before}")
    desk.wait_until("document.querySelector('[data-watch-rows] tr[data-stale]') === null")
