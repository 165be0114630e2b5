"""What Schemathesis loads beside its own: requests that get past the first check.

Made up at random, a symbol is none of ours and a quantity no number, and all that is asked is
refused at the door. So of each four requests three are made of a right one in which a part or two
are as they were made up.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

import schemathesis

SYMBOL = "AAPL"
ORDER = {
    "symbol": SYMBOL,
    "qty": "1",
    "side": "buy",
    "type": "limit",
    "limit_price": "100",
    "time_in_force": "day",
}
RIGHT: dict[str, dict[str, Any]] = {
    "/v2/orders": ORDER,
    "/v2/watchlists": {"name": "Mine", "symbols": [SYMBOL]},
}
LEFT_ALONE = 4  # one of so many
KEPT = 2  # parts of what was made up


@schemathesis.hook
def map_body(context: Any, body: Any) -> Any:
    path = context.operation.path
    if path == "/v2/account/configurations" and isinstance(body, dict):
        return {**body, "suspend_trade": False}  # or no order would be accepted after it
    right = RIGHT.get(path)
    if right is None or not isinstance(body, dict):
        return body
    chance = _chance(body)
    if chance % LEFT_ALONE == 0:
        return body
    names = sorted(body)
    kept = [names[(chance >> 8 * turn) % len(names)] for turn in range(KEPT)] if names else []
    return {**right, **{name: body[name] for name in kept}}


@schemathesis.hook
def map_path_parameters(context: Any, path_parameters: Any) -> Any:
    return _with_symbol(path_parameters, ("symbol_or_id", "symbol"))


@schemathesis.hook
def map_query(context: Any, query: Any) -> Any:
    return _with_symbol(query, ("symbols", "symbol"))


def _with_symbol(given: Any, names: tuple[str, ...]) -> Any:
    if not isinstance(given, dict) or _chance(given) % LEFT_ALONE == 0:
        return given
    return {name: SYMBOL if name in names else value for name, value in given.items()}


def _chance(given: Any) -> int:
    """The same for the same, so that a run can be had again."""
    said = json.dumps(given, sort_keys=True, default=repr)
    return int.from_bytes(hashlib.sha256(said.encode()).digest()[:8], "big")
