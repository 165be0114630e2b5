from __future__ import annotations

from typing import Any

import pytest

from access.authentication import authenticate_key
from tests.people import a_trader

pytestmark = pytest.mark.django_db


def test_a_person_makes_lists_and_revokes_keys(django_capture_on_commit_callbacks: Any) -> None:
    trader = a_trader()
    browser = trader.browser()

    made = browser.post("/api/keys", {"name": "robot"}, content_type="application/json").json()
    assert authenticate_key(made["key_id"], made["secret"]) is not None
    listed = browser.get("/api/keys").json()
    assert [key["name"] for key in listed] == ["robot", ""]
    assert made["secret"] not in str(listed)

    with django_capture_on_commit_callbacks(execute=True):
        assert browser.delete(f"/api/keys/{made['key_id']}").status_code == 204
    assert authenticate_key(made["key_id"], made["secret"]) is None
    assert [bool(key["revoked_at"]) for key in browser.get("/api/keys").json()] == [False, True]


def test_somebody_elses_key_is_404(django_capture_on_commit_callbacks: Any) -> None:
    owner = a_trader()

    answer = a_trader().browser().delete(f"/api/keys/{owner.key_id}")

    assert (answer.status_code, answer.json()["code"]) == (404, 40410000)
    assert authenticate_key(owner.key_id, owner.secret) is not None
