"""An admin page left open in a browser, to be sent as it was shown."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

from django.test import Client


class OpenPage:
    """A form as it was when its page was opened."""

    def __init__(self, browser: Client, url: str) -> None:
        self._browser, self._url = browser, url
        answer = browser.get(url)
        assert answer.status_code == 200, answer.status_code
        self._fields = _Fields(answer.content.decode()).values

    def send(self, **changes: Any) -> Any:
        """Send it with these changes; None unticks a box."""
        fields = {**self._fields, **changes}
        return self._browser.post(
            self._url, {name: value for name, value in fields.items() if value is not None}
        )


class _Fields(HTMLParser):
    """What a browser would send of a page: its inputs, ticked boxes and chosen options."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.values: dict[str, list[str]] = {}
        self._select = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        if tag == "select":
            self._select = given["name"] or ""
        elif tag == "option" and "selected" in given:
            self._add(self._select, given)
        elif tag == "input" and given.get("type") != "submit" and given.get("name"):
            if given.get("type") != "checkbox":
                self._add(given["name"] or "", given)
            elif "checked" in given:
                self._add(given["name"] or "", {"value": "on", **given})

    def _add(self, name: str, given: dict[str, str | None]) -> None:
        self.values.setdefault(name, []).append(given.get("value") or "")
