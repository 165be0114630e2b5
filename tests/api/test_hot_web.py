"""Hot reads through a real web process: who was shut out elsewhere is out within two seconds."""

from __future__ import annotations

import os
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from django.conf import settings
from django.db import connection

pytest.importorskip("gunicorn", reason="NO GUNICORN: the production set is not installed")

from access.keys import revoke_key
from quotes.api.hot import PATH
from tests.api import recording
from tests.config.server.web import Web, next_answer, request, running
from tests.people import a_trader
from tests.waiting import eventually

REVOKED_SECONDS_MAX = 2.0


@pytest.mark.redis_bus
@pytest.mark.django_db(transaction=True)
def test_a_key_revoked_elsewhere_is_refused_by_the_main_thread(tmp_path: Path) -> None:
    if not settings.REDIS_URL or connection.vendor != "mysql":
        pytest.skip("needs servers: DATABASE_URL and REDIS_URL")
    recording.play()
    trader = a_trader()
    hot_read = request(
        f"{PATH}?symbols=AIG,IBM", *(": ".join(each) for each in trader.headers.items())
    )
    database = urlsplit(os.environ["DATABASE_URL"])._replace(path=connection.settings_dict["NAME"])
    with (
        running(
            "config.wsgi:application",
            DJANGO_SETTINGS_MODULE="config.settings",
            DATABASE_URL=database.geturl(),
            OPENBELL_HOME=str(tmp_path),
            HTTP_THREADS="1",
        ) as web,
        web.connect() as client,
    ):
        client.sendall(hot_read)
        assert next_answer(client).status == 200  # the gate learns who that is
        eventually(
            lambda: is_answered_without_a_thread(web, hot_read), "an answer of the main thread"
        )

        revoke_key(account_id=trader.account.pk, key_id=trader.key_id, actor="user:1")

        revoked_at = asked_at = time.monotonic()
        client.sendall(hot_read)
        while next_answer(client).status != 401:
            # It was let in after this, however slowly it went.
            assert asked_at - revoked_at < REVOKED_SECONDS_MAX
            asked_at = time.monotonic()
            client.sendall(hot_read)
        for _ in range(10):
            client.sendall(hot_read)
            assert next_answer(client).status == 401


def is_answered_without_a_thread(web: Web, hot_read: bytes) -> bool:
    """Ask once more while half a request holds the only thread; a refused one is forgotten."""
    with web.connect() as holding, web.connect() as client:
        client.sendall(hot_read)
        assert next_answer(client).status == 200
        holding.sendall(hot_read[:40])
        time.sleep(0.1)  # until the thread waits for the rest
        client.sendall(hot_read)
        status = next_answer(client).status
        holding.sendall(hot_read[40:])
        assert next_answer(holding).status == 200
        assert status in (200, 503)
        return status == 200
