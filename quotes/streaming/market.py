"""What a hub asks when it has not heard: the stored market. Each answer is made off the loop."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence, Set
from functools import partial
from typing import Protocol

from django.db import DEFAULT_DB_ALIAS

from quotes import latest, listings
from quotes.models import Instrument
from quotes.streaming.audience import EVERYTHING
from quotes.streaming.off_loop import off_loop
from quotes.streaming.standings import Standing, Standings, chunks
from quotes.ticks import Place

LOOK_UP_MAX = 500  # symbols at a time


class Market(Protocol):
    """The newest that is stored; every method may fail."""

    async def latest(self, symbols: Sequence[str]) -> Mapping[str, latest.Latest]:
        """The newest quote and price of each of the symbols, be it a canceled one."""

    async def place(self) -> Place | None:
        """The batch of the feed up to which `latest` is sure to know all."""

    async def listed(self) -> Sequence[str]:
        """Every symbol there is."""

    async def halted(self) -> Mapping[str, str]:
        """The halted symbols, each with the reason."""


class StoredMarket:
    """The fast store and the database."""

    async def latest(self, symbols: Sequence[str]) -> Mapping[str, latest.Latest]:
        return await off_loop(partial(latest.get_many, with_canceled=True), symbols)

    async def place(self) -> Place | None:
        return await off_loop(latest.place)

    async def listed(self) -> Sequence[str]:
        return await off_loop(_listed)

    async def halted(self) -> Mapping[str, str]:
        return await off_loop(_halted)


class LookUp:
    """Asks the stored market for a hub, which knows some of the answers already."""

    def __init__(
        self, market: Market, standings: Standings, hearing: Callable[[], Awaitable[bool]]
    ) -> None:
        self._market = market
        self._standings = standings
        self._hearing = hearing
        self._all = 0  # how many symbols there are, as of the last time that was asked

    async def names(self, wanted: Set[str]) -> set[str]:
        """The symbols by name: all there are, where everything is wanted."""
        if EVERYTHING not in wanted:
            return set(wanted)
        listed = set(await self._market.listed())
        everything = listed | self._standings.symbols()
        self._all = len(everything)
        return everything | wanted - {EVERYTHING}

    def count(self, wanted: Set[str]) -> int:
        """About how many symbols these are by name, without asking: "*" is none at first."""
        named = len(wanted - {EVERYTHING})
        return named + self._all if EVERYTHING in wanted else named

    async def unheard(self, wanted: Set[str]) -> dict[str, Standing]:
        """What is stored of those wanted symbols of which not all was heard."""
        names = await self.names(wanted)
        unheard = sorted(symbol for symbol in names if not self._standings.knows(symbol))
        found: dict[str, Standing] = {}
        for symbols in chunks(unheard, LOOK_UP_MAX):
            found |= await self.stored(symbols)
        return found

    def standing(self, wanted: Set[str], stored: Mapping[str, Standing]) -> dict[str, Standing]:
        """Where the wanted symbols stand, by what was heard or is stored."""
        return self._standings.standing(self.named(wanted, stored), stored)

    def named(self, wanted: Set[str], stored: Mapping[str, Standing]) -> set[str]:
        """The wanted by name; also those that were heard meanwhile, where all are wanted."""
        named = wanted - {EVERYTHING} | stored.keys()
        if EVERYTHING in wanted:
            named |= self._standings.symbols()
        return named

    async def stored(self, symbols: Sequence[str]) -> dict[str, Standing]:
        """What is stored of the symbols; first hear, then look."""
        await self._hearing()
        if silent := self._standings.silent_topics(symbols):
            self._standings.read_at(silent, await self._market.place())
        loaded = await self._market.latest(symbols)
        return {symbol: Standing(*found) for symbol, found in loaded.items()}


def _listed() -> list[str]:
    return [asset["symbol"] for asset in listings.assets()]


def _halted() -> dict[str, str]:
    """On the primary: replicas lag behind the news of a halt."""
    rows = Instrument.objects.using(DEFAULT_DB_ALIAS).filter(halted=True)
    return dict(rows.values_list("symbol", "halt_reason"))
