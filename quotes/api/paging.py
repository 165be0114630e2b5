"""Page tokens: where a page of items by symbol and time ended. Opaque to clients."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Collection

from quotes.api.fields import BadParameter

# Symbol, and where the last item stands among the symbol's: its instant in the unit of its table,
# and for ticks the sequence.
Position = tuple[str, *tuple[int, ...]]


def write_token(position: Position | None) -> str | None:
    """The token to go on from; null after the last page, never an empty string."""
    if position is None:
        return None
    return base64.urlsafe_b64encode("|".join(map(str, position)).encode()).decode()


def read_token(token: str, symbols: Collection[str], numbers: int) -> Position:
    """What a token of a query for these symbols says, with so many numbers. Raises BadParameter."""
    try:
        symbol, *rest = base64.b64decode(token, altchars=b"-_", validate=True).decode().split("|")
        place = [int(number) for number in rest]
    except (ValueError, binascii.Error) as error:
        raise BadParameter("invalid page_token") from error
    if symbol not in symbols or len(place) != numbers:
        raise BadParameter("invalid page_token")
    if not all(0 <= number < 2**63 for number in place):
        raise BadParameter("invalid page_token")
    return symbol, *place
