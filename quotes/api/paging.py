"""Page tokens: where a page of items by symbol and time ended. Opaque to clients."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Collection

from quotes.api.fields import BadParameter

Position = tuple[str, int]  # symbol, and the instant of the last item in the unit of its table


def write_token(position: Position | None) -> str | None:
    """The token to go on from; null after the last page, never an empty string."""
    if position is None:
        return None
    symbol, at = position
    return base64.urlsafe_b64encode(f"{symbol}|{at}".encode()).decode()


def read_token(token: str, symbols: Collection[str]) -> Position:
    """What a token of a query for these symbols says. Raises BadParameter."""
    try:
        symbol, _, at = (
            base64.b64decode(token, altchars=b"-_", validate=True).decode().partition("|")
        )
        position = symbol, int(at)
    except (ValueError, binascii.Error) as error:
        raise BadParameter("invalid page_token") from error
    if symbol not in symbols or not 0 <= position[1] < 2**63:
        raise BadParameter("invalid page_token")
    return position
