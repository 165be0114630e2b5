"""A client that keeps the rules of honest streams: what it knows, and whether it may trust it.

Pure: messages and the time go in, requests come out. It is what a client in any language does.
"""

from __future__ import annotations

from typing import Any

HEARTBEAT_SECONDS = 2.0
LATE_SECONDS = 1.0  # for a heartbeat
PATIENCE_SECONDS = HEARTBEAT_SECONDS + LATE_SECONDS

Place = tuple[int, int]  # epoch, number
Rank = tuple[int, int, int]  # of a last price: epoch, number, version
NOWHERE: Place = (0, 0)
NO_PRICE: Rank = (0, 0, 0)
ANSWERED = -1


class HonestClient:
    """The newest quote and price of each symbol, whether it is halted, and what is in doubt."""

    def __init__(
        self,
        symbols: list[str],
        now: float = 0.0,
        patience: float = HEARTBEAT_SECONDS + LATE_SECONDS,
    ) -> None:
        self.symbols = symbols
        self.patience = patience  # seconds without a heartbeat
        self.quotes: dict[str, Place] = dict.fromkeys(symbols, NOWHERE)
        self.prices: dict[str, Rank] = dict.fromkeys(symbols, NO_PRICE)
        self.trades: dict[str, Place] = dict.fromkeys(symbols, NOWHERE)
        self.amended: dict[str, Place] = dict.fromkeys(symbols, NOWHERE)
        self.statuses: dict[str, Place] = dict.fromkeys(symbols, NOWHERE)
        # A snapshot that does not know is followed by a status where there is a halt.
        self.halted: dict[str, bool] = dict.fromkeys(symbols, False)
        # Symbol → the last price; None: it was canceled, and none is known before it.
        self.last: dict[str, float | None] = {}
        self.corrected: dict[tuple[str, int], float] = {}  # symbol and id → what the price is
        self.prints: dict[str, dict[int, float]] = {symbol: {} for symbol in symbols}  # id → price
        self.canceled: set[tuple[str, int]] = set()  # symbol and id
        self.holes: set[str] = set()  # symbols of which it has to ask the history for corrections
        # Symbol → the id of the resync whose snapshot it needs; 0 before the first snapshot.
        self.needs: dict[str, int] = dict.fromkeys(symbols, 0)
        self.is_current = False  # by the last heartbeat
        self.received = 0
        self.requests = 0
        self.heard_at = now

    def trusts(self, symbol: str, now: float) -> bool:
        """Whether the symbol is shown as live."""
        is_alive = now - self.heard_at <= self.patience
        return is_alive and self.is_current and symbol not in self.needs

    def price(self, symbol: str) -> float | None:
        """The last price, as far as prints were corrected and canceled."""
        return self.last.get(symbol)

    def tape(self, symbol: str) -> dict[int, float | None]:
        """The prints of a symbol that were heard, by id, as they are now; None: canceled."""
        return {
            id: None if (symbol, id) in self.canceled else self.corrected.get((symbol, id), price)
            for id, price in self.prints[symbol].items()
        }

    def read_history(self, symbol: str, tape: dict[int, float | None]) -> None:
        """Take from the history what became of the prints that were heard."""
        for id in self.prints[symbol]:
            price = tape[id]
            if price is None:
                self.canceled.add((symbol, id))
            else:
                self.corrected[symbol, id] = price
        self.holes.discard(symbol)

    def hear(self, message: dict[str, Any], now: float) -> dict[str, Any] | None:
        """Take one message; what to say to the server, if anything."""
        self.received += 1
        kind = message["T"]
        if kind == "heartbeat":
            return self._beat(message, now)
        if kind == "snapshot":
            self._stand(message)
        elif kind in "cx":
            self._amend(message)
        elif kind == "s":
            place = message["epoch"], message["seq"]
            self._take_status(message["S"], place, is_halted=message["sc"] == "H")
        elif kind in "qt":
            if kind == "t" and self._leaves_a_gap(message):
                self.needs[message["S"]] = self.requests + 1  # asked for at the next heartbeat
            self._take(kind, message["S"], message)
        return None

    def _beat(self, beat: dict[str, Any], now: float) -> dict[str, Any] | None:
        is_late = now - self.heard_at > self.patience  # what the one before named is unknown
        self.heard_at = now
        self.needs = {symbol: id for symbol, id in self.needs.items() if id != ANSWERED}
        lost = {
            symbol
            for channel, known in (
                ("quotes", self.quotes),
                ("trades", self.trades),
                ("amendments", self.amended),
                ("statuses", self.statuses),
            )
            for symbol, place in beat.get(channel, {}).items()
            if tuple(place) > known[symbol]
        }
        for symbol, (_, number) in beat.get("amendments", {}).items():
            if number > self.amended[symbol][1]:
                self.holes.add(symbol)
        if is_late or beat["sent"] != self.received - 1:
            self.received = beat["sent"] + 1
            lost = set(self.symbols)
        self.is_current = beat["current"]
        if lost or self.needs:
            self.requests += 1
            self.needs |= dict.fromkeys(lost, self.requests)
            return {"action": "resync", "id": self.requests}
        return None

    def _stand(self, snapshot: dict[str, Any]) -> None:
        symbol = snapshot["S"]
        for kind in ("quote", "trade"):
            if snapshot[kind] is not None:
                self._take(kind[0], symbol, snapshot[kind])
        if snapshot["trades"] is not None:
            self.trades[symbol] = max(self.trades[symbol], tuple(snapshot["trades"]))
        if snapshot["amendments"] is not None:
            self._come_to(symbol, tuple(snapshot["amendments"]), heard=0)
        if snapshot["halted"] is not None:
            place = tuple(snapshot["statuses"] or NOWHERE)
            self._take_status(symbol, place, is_halted=snapshot["halted"])
        needed = self.needs.get(symbol)
        if needed is not None and (snapshot["resync"] or 0) >= needed:
            self.needs[symbol] = ANSWERED  # trusted by the next heartbeat that agrees

    def _amend(self, message: dict[str, Any]) -> None:
        symbol = message["S"]
        if self._come_to(symbol, (message["epoch"], message["seq"]), heard=1):
            self.needs[symbol] = self.requests + 1  # the last price may be another
        if message["T"] == "c":
            self.corrected[symbol, message["oi"]] = message["cp"]
        else:
            self.canceled.add((symbol, message["i"]))
        if "last" in message:
            self._take_price(symbol, message["last"])

    def _take_status(self, symbol: str, place: Place, *, is_halted: bool) -> None:
        """A snapshot may have been overtaken by a status that is newer, and the other way round."""
        if place >= self.statuses[symbol]:
            self.statuses[symbol], self.halted[symbol] = place, is_halted

    def _come_to(self, symbol: str, place: Place, *, heard: int) -> bool:
        """Note the number of an amendment; whether others between were lost."""
        has_gap = place[1] > self.amended[symbol][1] + heard
        if has_gap:
            self.holes.add(symbol)
        self.amended[symbol] = max(self.amended[symbol], place)
        return has_gap

    def _leaves_a_gap(self, trade: dict[str, Any]) -> bool:
        epoch, number = self.trades[trade["S"]]
        return trade["epoch"] == epoch and trade["seq"] > number + 1

    def _take(self, kind: str, symbol: str, item: dict[str, Any]) -> None:
        place = (item["epoch"], item["seq"])
        if kind == "q":
            self.quotes[symbol] = max(self.quotes[symbol], place)
            return
        self.trades[symbol] = max(self.trades[symbol], place)
        self.prints[symbol].setdefault(item["i"], item["p"])
        if item.get("u") == "corrected":
            self.corrected[symbol, item["i"]] = item["p"]
        elif item.get("u") == "canceled":
            self.canceled.add((symbol, item["i"]))
        if item.get("sets_price", True):
            self._take_price(symbol, item)

    def _take_price(self, symbol: str, item: dict[str, Any]) -> None:
        epoch, number, version = item.get("rank") or (item["epoch"], item["seq"], 0)
        if (epoch, number, version) > self.prices[symbol]:
            self.prices[symbol] = (epoch, number, version)
            self.last[symbol] = None if item.get("u") == "canceled" else item["p"]
