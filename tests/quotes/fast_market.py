"""The market of a hub that has no database: what it looks up is in the fast store or nowhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from quotes import latest
from quotes.streaming.market import StoredMarket
from quotes.streaming.off_loop import off_loop


class FastMarket(StoredMarket):
    """Knows which symbols there are, and what somebody else notes of their halts."""

    def __init__(self, symbols: Sequence[str], halts: Mapping[str, str] | None = None) -> None:
        self._symbols, self._halts = symbols, {} if halts is None else halts

    async def latest(self, symbols: Sequence[str]) -> Mapping[str, latest.Latest]:
        found = await off_loop(latest.store().get_many, list(symbols))
        return {symbol: found.get(symbol, latest.NOTHING) for symbol in symbols}

    async def listed(self) -> Sequence[str]:
        return self._symbols

    async def halted(self) -> Mapping[str, str]:
        return dict(self._halts)
