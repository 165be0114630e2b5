"""The trading screen in the words of who uses it."""

from __future__ import annotations

import re
import time
import uuid
from decimal import Decimal
from typing import Any

PASSWORD = "a long pass phrase"
WAIT_MS = 60_000  # a loaded test machine; a person's takes a fraction of a second
READ_MS = 400  # so long after its opening a review takes no Enter, with some to spare
# Makes the server doubt its account's updates, while it is told to.
DOUBT_UPDATES = """
  const doubted = (data) => {
    const text = typeof data === "string" ? data : new TextDecoder().decode(data);
    const isBeat = text.includes('"heartbeat"') && text.includes('"account_sequence"');
    return isBeat && window.doubting ? text.replace('"current":true', '"current":false') : data;
  };
  window.WebSocket = class extends window.WebSocket {
    set onmessage(hear) {
      super.onmessage = ({data}) => hear({data: doubted(data)});
    }
  };
"""


class Screen:
    """One browser window."""

    def __init__(self, page: Any, url: str) -> None:
        self.page = page
        self.url = url
        self.errors: list[str] = []
        page.set_default_timeout(WAIT_MS)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", self._hear)

    def sign_up(self) -> None:
        """As a new person, up to the moment when prices are live."""
        self.page.goto(f"{self.url}/signup")
        self.page.fill("[name=username]", f"person-{uuid.uuid4().hex[:12]}")
        self.page.fill("[name=password1]", PASSWORD)
        self.page.fill("[name=password2]", PASSWORD)
        self.page.click("button[type=submit]")
        self.wait_until_live()

    def wait_until_live(self) -> None:
        self.page.wait_for_selector("[data-link][data-kind=simulated]")
        self.wait_until("parseFloat(document.querySelector('[data-touch-ask]').textContent) > 0")

    def choose(self, typed: str) -> None:
        """Search, and take the first that is found."""
        self.page.keyboard.press("/")
        self.page.keyboard.type(typed)
        self.page.keyboard.press("Enter")

    def fill_ticket(self, *, side: str = "buy", shares: str, limit: str = "") -> None:
        self.page.check(f"[name=side][value={side}]")
        self.page.check(f"[name=type][value={'limit' if limit else 'market'}]")
        self.page.fill("#ticket-amount", shares)
        if limit:
            self.page.fill("#ticket-limit", limit)

    def send(self) -> None:
        self.page.click("[data-ticket-submit]")
        self.page.click("[data-review-send]")

    def wait_until_read(self) -> None:
        """Until Enter would place the order that is under review."""
        self.page.wait_for_selector("[data-review-send]:focus")
        self.page.wait_for_timeout(READ_MS)
        self.page.wait_for_selector("[data-review-send]:enabled:focus")

    def open_tab(self, name: str) -> None:
        self.page.click(f"[data-tab={name}]")

    def wait_for_text(self, selector: str, text: str) -> None:
        self.page.locator(selector).filter(has_text=text).first.wait_for()

    def wait_until(self, expression: str) -> None:
        """Until it holds in the page. Playwright's own wait needs the eval that we forbid."""
        deadline = time.monotonic() + WAIT_MS / 1000
        while not self.page.evaluate(expression):
            assert time.monotonic() < deadline, f"never came true: {expression}"
            self.page.wait_for_timeout(50)

    def text(self, selector: str) -> str:
        return re.sub(r"\s+", " ", self.page.inner_text(selector)).strip()

    def figure(self, name: str) -> Decimal:
        """A figure of the account strip."""
        return amount(self.text(f"[data-figure={name}]"))

    def ask_api(self, path: str) -> Any:
        """What the API tells this person."""
        return self.page.evaluate("path => fetch(path).then(answer => answer.json())", path)

    def _hear(self, message: Any) -> None:
        if message.type == "error":
            self.errors.append(message.text)


def amount(text: str) -> Decimal:
    """The number that a text of the screen shows."""
    return Decimal(re.sub(r"[^0-9.−-]", "", text).replace("−", "-"))
