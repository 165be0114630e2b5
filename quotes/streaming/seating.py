"""What processes tell each other of the seats they have taken, and which of those are too many.

While processes cannot reach each other, each lets in as many as it may alone. When they can again,
those stay who would have been let in if all had asked in one place: every process finds the same
ones by the time at which each seat was taken, whichever asks first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

# Holder → the most seats that it may have. The first is the account, and all seats of the others
# are seats of the account, too.
Limits = Mapping[str, int]
# The seats of one account in one process: when each was taken (µs of wall time, no two the same),
# and for whom.
Seating = Mapping[int, Limits]

# A process that has not said for so long that it lives is dead: five of its beats.
GONE_SECONDS = 5.0


class Away(Exception):
    """Who counts for all processes does not answer."""


class Told(NamedTuple):
    """What came of a trip: which wishes were granted, and which accounts others ask about."""

    granted: list[bool]
    asked: list[str]


class Shared(Protocol):
    """Who counts for all processes. Called from one thread that is no event loop's."""

    def exchange(self, changed: Mapping[str, int], wishes: Sequence[Limits]) -> Told | None:
        """Tell how many seats holders have here now, and ask for more.

        Says as well that this process lives. None where it is not known of what else this process
        holds, and `exchange_anew` has to tell: nothing was granted then. Away.
        """

    def exchange_anew(self, taken: Mapping[str, int], wishes: Sequence[Limits]) -> Told:
        """The same, where these are all the seats that are taken here. Away."""

    def find_over(self, here: Mapping[str, Seating]) -> dict[str, list[int]]:
        """Of these accounts those that have more seats than allowed, and which of theirs here go.

        None of them go before every process has told which it holds: it is asked to. Away.
        """

    def leave(self) -> None:
        """Tell that what this process holds no longer counts. Away."""


class Claim(NamedTuple):
    """A seat that some process has taken."""

    taken_at_us: int
    process: str
    limits: Limits


def over(claims: Iterable[Claim]) -> list[Claim]:
    """Those that would have been refused if each had asked when it was taken: no more than needed.

    Whoever goes frees no seat for a later one: who would have been refused takes none.
    """
    taken, refused = Counter[str](), []
    for claim in sorted(claims, key=lambda each: (each.taken_at_us, each.process)):
        if is_full(taken, claim.limits):
            refused.append(claim)
        else:
            taken.update(claim.limits.keys())
    return refused


def is_full(taken: Mapping[str, int], limits: Limits) -> bool:
    """Whether one of the holders has as many seats as it may."""
    return any(taken.get(holder, 0) >= most for holder, most in limits.items())
