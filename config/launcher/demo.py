"""The demo user, their funded account and their API key, made at the first start of a market.

The market's folder keeps them in `demo.env`; a copy on top, in OPENBELL_HOME, is the one of the
market that was started last. A password or key that no longer works is made anew.
"""

from __future__ import annotations

import secrets
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractUser
from django.db import transaction

from access.authentication import authenticate_key
from access.keys import create_key
from config.launcher.home import write_private
from portfolios.accounts import open_account
from portfolios.models import Account

USERNAME = "demo"
CASH = Decimal(100_000)
ACTOR = "system"


class Demo(NamedTuple):
    """What a new user needs to begin."""

    username: str
    password: str
    key_id: str
    secret: str


def prepare(market_home: Path) -> Demo:
    """The demo user of this market, made where there is none."""
    file = market_home / "demo.env"
    known = _read(file)
    demo = Demo(
        USERNAME,
        known.get("OPENBELL_PASSWORD", ""),
        known.get("APCA_API_KEY_ID", ""),
        known.get("APCA_API_SECRET_KEY", ""),
    )
    user = get_user_model().objects.filter(username=USERNAME).first()
    if user is not None and _works(user, demo):
        return demo
    demo = _make(user)
    publish(demo, file, address="")
    return demo


def publish(demo: Demo, file: Path, *, address: str) -> None:
    """Write what a program reads from its environment, for the owner's eyes."""
    lines = {
        "APCA_API_KEY_ID": demo.key_id,
        "APCA_API_SECRET_KEY": demo.secret,
        "APCA_API_BASE_URL": address,
        "OPENBELL_USERNAME": demo.username,
        "OPENBELL_PASSWORD": demo.password,
    }
    write_private(file, "".join(f"{name}={value}\n" for name, value in lines.items() if value))


def _works(user: AbstractUser, demo: Demo) -> bool:
    return user.check_password(demo.password) and bool(authenticate_key(demo.key_id, demo.secret))


@transaction.atomic
def _make(user: Any) -> Demo:
    """All of it or none. On their own machine they are also the operator of the floor."""
    password = secrets.token_urlsafe(9)
    if user is None:
        user = get_user_model()(username=USERNAME, is_staff=True, is_superuser=True)
    user.set_password(password)
    user.save()
    account = Account.objects.filter(user=user).order_by("pk").first()
    if account is None:
        account = open_account(user=user, cash=CASH, actor=ACTOR)
    key, secret = create_key(account_id=account.pk, user=user, name="demo", actor=ACTOR)
    return Demo(USERNAME, password, key.key_id, secret)


def _read(file: Path) -> dict[str, str]:
    if not file.is_file():
        return {}
    pairs = (line.partition("=") for line in file.read_text().splitlines() if "=" in line)
    return {name.strip(): value.strip() for name, _, value in pairs}
