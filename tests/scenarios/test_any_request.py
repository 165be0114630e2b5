"""Whatever the OpenAPI document allows, and what it forbids, is asked of the running platform.

Schemathesis makes the requests up. No answer may be a 5xx, and none may have another status, type
or shape than the document says.
"""

from __future__ import annotations

import os
import re
import secrets
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from tests.conftest import LONG
from tests.running import ROOT, RunningPlatform

# A process of its own: it brings pytest plugins and settings of hypothesis along.
SCHEMATHESIS = Path(sys.executable).with_name("schemathesis")
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
)
EXAMPLES = 50 if LONG else 5  # of each operation
PHASES = "coverage,fuzzing" if LONG else "fuzzing"  # coverage: each bound of each parameter
REQUESTS_MIN = 4_000 if LONG else 250
SECONDS_MAX = 1_800 if LONG else 600


@pytest.fixture
def key(platform: RunningPlatform) -> dict[str, str]:
    """Of somebody with a new account, for it will be traded, closed and suspended."""
    with requests.Session() as browser:
        password = secrets.token_urlsafe(16)
        browser.get(f"{platform.url}/signup", timeout=10)
        form = {"username": "anybody", "password1": password, "password2": password}
        token = browser.cookies["csrftoken"]
        browser.post(
            f"{platform.url}/signup", {**form, "csrfmiddlewaretoken": token}, timeout=10
        ).raise_for_status()
        made = browser.post(
            f"{platform.url}/api/keys",
            json={"name": "anything"},
            headers={"X-CSRFToken": browser.cookies["csrftoken"]},
            timeout=10,
        ).json()
    return {"APCA-API-KEY-ID": made["key_id"], "APCA-API-SECRET-KEY": made["secret"]}


def test_no_request_meets_an_error_of_ours_or_breaks_the_document(
    platform: RunningPlatform, key: dict[str, str], tmp_path: Path
) -> None:
    if not SCHEMATHESIS.exists():
        pytest.skip("NO SCHEMATHESIS: the packages of requirements-test.txt are not installed")
    done = subprocess.run(
        [
            *(str(SCHEMATHESIS), "run", f"{platform.url}/api/schema"),
            *(part for name, value in key.items() for part in ("--header", f"{name}: {value}")),
            *("--checks", ",".join(CHECKS), "--phases", PHASES, "--max-examples", str(EXAMPLES)),
            *("--seed", "1", "--generation-deterministic", "--continue-on-failure"),
            *("--no-shrink", "--no-color", "--warnings", "off"),
        ],
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "SCHEMATHESIS_HOOKS": "tests.scenarios.nearly_right",
        },
        capture_output=True,
        text=True,
        timeout=SECONDS_MAX,
    )

    said = done.stdout[-8_000:] + done.stderr[-2_000:]
    assert done.returncode == 0, said
    asked = re.search(r"(\d+) generated, (\d+) passed", done.stdout)
    assert asked is not None, said
    assert int(asked[1]) == int(asked[2]) >= REQUESTS_MIN
    placed = requests.get(f"{platform.url}/v2/orders?status=all", headers=key, timeout=10).json()
    assert placed  # not all of it was refused
