"""A browser of few words: cookies, and forms with their token."""

from __future__ import annotations

import http.cookiejar
import re
import urllib.parse
import urllib.request
import uuid

from tests.running import RunningPlatform

WAIT_SECONDS_MAX = 20
TOKEN = re.compile(r'name="csrfmiddlewaretoken" value="([^"]+)"')
PASSWORD = "a long pass phrase"


class Browser:
    """One person's window on a running platform."""

    def __init__(self, platform: RunningPlatform) -> None:
        self._url = platform.url
        self._jar = http.cookiejar.CookieJar()
        self._opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self._jar))

    @property
    def cookies(self) -> str:
        """What it sends along."""
        return "; ".join(f"{each.name}={each.value}" for each in self._jar)

    def sign_up(self) -> None:
        """As a new person."""
        name = f"person-{uuid.uuid4().hex[:12]}"
        self.submit("/signup", username=name, password1=PASSWORD, password2=PASSWORD)

    def read(self, path: str) -> str:
        with self._opener.open(self._url + path, timeout=WAIT_SECONDS_MAX) as page:
            return str(page.read().decode())

    def submit(self, path: str, **fields: str) -> str:
        """Fill in the form of a page and send it; the page that comes then."""
        token = TOKEN.search(self.read(path))
        assert token is not None, f"{path} has no form"
        form = urllib.parse.urlencode({"csrfmiddlewaretoken": token[1], **fields}).encode()
        address = self._url + path
        request = urllib.request.Request(address, form, {"Referer": address})
        with self._opener.open(request, timeout=WAIT_SECONDS_MAX) as page:
            return str(page.read().decode())


class Operator(Browser):
    """Who runs the floor: on one's own machine the demo user."""

    def __init__(self, platform: RunningPlatform) -> None:
        super().__init__(platform)
        name = platform.credentials["OPENBELL_USERNAME"]
        password = platform.credentials["OPENBELL_PASSWORD"]
        self.submit("/admin/login/", username=name, password=password)

    def halt(self, symbol: str, reason: str) -> None:
        self._act("halt", symbol, reason=reason)

    def resume(self, symbol: str) -> None:
        self._act("resume", symbol)

    def _act(self, action: str, symbol: str, **more: str) -> None:
        path = f"/admin/quotes/instrument/?q={symbol}"
        [number] = re.findall(r'name="_selected_action" value="(\d+)"', self.read(path))
        self.submit(path, action=action, _selected_action=number, **more)
