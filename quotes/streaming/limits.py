"""What one socket, one account and one client may ask for, and why that much."""

from __future__ import annotations

from collections import OrderedDict

# Entries over all channels of a socket. The whole US market is about 11,000 symbols; whoever wants
# more than this many by name wants "*".
SYMBOLS_MAX = 5_000
# Longer names are no symbols; option symbols (21 characters) are, though nothing here trades them.
SYMBOL_LENGTH_MAX = 32
# Room for SYMBOLS_MAX symbols in one message; alpaca-py sends everything at once.
MESSAGE_BYTES_MAX = 64 * 1024

# Of each stream, over all processes (`seats`). Alpaca allows one. Programs, charts and open tabs of
# one person stay below this, and one program that forgets to close its sockets does not take them
# all. Where more were let in while Redis was away, the newest are closed with 406 when it is back.
SOCKETS_PER_ACCOUNT_MAX = 50
SOCKETS_PER_KEY_MAX = 25
# Sockets of a process that have not yet said who they are: a second's worth of a reconnecting
# fleet, and few enough (30 KB each) to forget about.
STRANGERS_MAX = 2_000

AUTH_TIMEOUT_SECONDS = 10.0  # the contract's
# A person with a typo reconnects; a program that guesses has to.
AUTH_ATTEMPTS_MAX = 3
# A login session is proved again about this often: it may have ended meanwhile.
RECHECK_SECONDS = 60.0

# alpaca-py sends its whole subscription each time it adds a symbol: a start with a few hundred
# symbols passes, a loop does not.
MESSAGES_BURST = 500
MESSAGES_PER_SECOND = 50.0

# Snapshots that one process tells one user, whose honest sockets subscribed or asked anew. Each
# costs some 10 µs, so a loop takes a tenth of a core, over however many sockets and however often
# it connects again. Twenty times the whole market passes at once. Beyond that answers wait their
# turn: of 50 sockets that came back together and want all of it, the last has it within the longest
# wait. Who would have to wait longer is closed with 429.
TOLD_BURST = 250_000
TOLD_PER_SECOND = 10_000.0
TOLD_WAIT_SECONDS_MAX = 30.0
# A subscription of any socket counts by its names: to take it in and list it in the answer is work.
# A client that sends all of it each time it adds a symbol comes to 1,000 of them without a wait.
NAMES_PER_SNAPSHOT = 2
ALLOWANCES_REMEMBERED_MAX = 10_000  # users

# The first wrong key costs its sender a quarter of a second, and each further one twice as much.
# An old client that reconnects every 10 ms with a bad key is so held to 12 attempts a minute.
FAILURE_DELAY_SECONDS = 0.25
FAILURE_DELAY_SECONDS_MAX = 5.0
FAILURES_FORGOTTEN_SECONDS = 60.0
FAILURES_REMEMBERED_MAX = 10_000


class Pace:
    """A token bucket: `burst` at once, `per_second` over time."""

    __slots__ = ("_at", "_burst", "_left", "_per_second")

    def __init__(self, burst: float, per_second: float, now: float) -> None:
        self._burst = self._left = burst
        self._per_second = per_second
        self._at = now

    def allows(self, now: float) -> bool:
        """Take one, if there is one."""
        self._left = min(self._burst, self._left + (now - self._at) * self._per_second)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


class Allowances:
    """How many snapshots each user may be told: token buckets that may be overdrawn."""

    def __init__(self) -> None:
        self._of: OrderedDict[int, tuple[float, float]] = OrderedDict()

    def wait_for(self, user_id: int, count: int, now: float) -> float | None:
        """Take so many; the seconds until the user may have them.

        None where that is longer than anybody should wait: then nothing is taken. Who asks for
        nothing waits for nothing.
        """
        if not count:
            return 0.0
        left, at = self._of.pop(user_id, (float(TOLD_BURST), now))
        left = min(TOLD_BURST, left + (now - at) * TOLD_PER_SECOND)
        seconds = max(0.0, (count - left) / TOLD_PER_SECOND)
        is_granted = seconds <= TOLD_WAIT_SECONDS_MAX
        self._of[user_id] = (left - count if is_granted else left, now)
        if len(self._of) > ALLOWANCES_REMEMBERED_MAX:
            self._of.popitem(last=False)
        return seconds if is_granted else None


class Failures:
    """Who failed to authenticate lately, and how long their next refusal takes."""

    def __init__(self) -> None:
        self._of: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def delay_after(self, client: str, now: float) -> float:
        """Count one more failure of this client; the seconds to wait before telling it."""
        count, at = self._of.pop(client, (0, now))
        if now - at > FAILURES_FORGOTTEN_SECONDS:
            count = 0
        self._of[client] = (count + 1, now)
        if len(self._of) > FAILURES_REMEMBERED_MAX:
            self._of.popitem(last=False)
        return min(FAILURE_DELAY_SECONDS * 2 ** min(count, 16), FAILURE_DELAY_SECONDS_MAX)
