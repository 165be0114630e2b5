"""Numbers without gaps, for a reader to see by a gap that something was lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Set


class Numbering:
    """The numbers of one kind of message, by symbol.

    Which symbols a loss was about nobody knows, so it leaves a gap in the numbers of all. It is
    counted for all at once: a name of which nothing was ever heard takes no room, whoever wants it.
    """

    def __init__(self) -> None:
        self._heard: Counter[str] = Counter()
        self.losses = 0

    def count(self, symbol: str) -> None:
        """A message of the symbol came."""
        self._heard[symbol] += 1

    def lose(self) -> None:
        """Messages were lost, of any symbols."""
        self.losses += 1

    def last(self, symbol: str) -> int:
        """The number of its last message, be it a lost one; 0 where there was none."""
        return self._heard[symbol] + self.losses

    @property
    def symbols(self) -> Set[str]:
        """Those of which something was heard."""
        return self._heard.keys()
