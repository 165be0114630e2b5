"""The demo user: funded, with a key that works, the same one at the next start."""

from __future__ import annotations

from decimal import Decimal

import pytest
from django.contrib.auth import authenticate, get_user_model

from access.authentication import authenticate_key
from access.models import ApiKey
from config.launcher import demo
from portfolios.models import Account

pytestmark = pytest.mark.django_db


def test_it_can_log_in_and_trade(tmp_path):
    made = demo.prepare(tmp_path)

    user = authenticate(username=made.username, password=made.password)
    assert user is not None
    assert user.is_staff  # on their own machine they run the floor too
    assert Account.objects.get(user=user).cash == Decimal(100_000)
    credential = authenticate_key(made.key_id, made.secret)
    assert credential is not None
    assert credential.user_id == user.pk


def test_the_next_start_finds_the_same(tmp_path):
    assert demo.prepare(tmp_path) == demo.prepare(tmp_path)
    assert get_user_model().objects.count() == Account.objects.count() == 1
    assert ApiKey.objects.count() == 1


@pytest.mark.parametrize("accident", ["file lost", "password changed", "user gone"])
def test_what_no_longer_works_is_made_anew(tmp_path, accident):
    before = demo.prepare(tmp_path)
    user = get_user_model().objects.get()
    match accident:
        case "file lost":
            (tmp_path / "demo.env").unlink()
        case "password changed":
            user.set_password("something else")
            user.save()
        case "user gone":
            (tmp_path / "demo.env").write_text("")

    after = demo.prepare(tmp_path)

    assert after.password != before.password
    assert authenticate(username=after.username, password=after.password) is not None
    assert authenticate_key(after.key_id, after.secret) is not None
    assert Account.objects.get().cash == Decimal(100_000)  # funded once


def test_programs_find_the_key_under_alpacas_names(tmp_path):
    made = demo.prepare(tmp_path)
    demo.publish(made, tmp_path / "on-top.env", address="http://127.0.0.1:8000")

    lines = (tmp_path / "on-top.env").read_text().splitlines()
    assert f"APCA_API_KEY_ID={made.key_id}" in lines
    assert f"APCA_API_SECRET_KEY={made.secret}" in lines
    assert "APCA_API_BASE_URL=http://127.0.0.1:8000" in lines
