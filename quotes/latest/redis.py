"""The fast store in Redis: one hash per symbol, written only by scripts that refuse older ticks.

    openbell:latest:<symbol>         quote, quote:epoch, quote:sequence, trade, trade:epoch, …
                                     whole: the table has been asked, what is missing is nowhere
    openbell:latest:<place>          epoch, number: the batch up to which all that was put is here
    openbell:latest:<symbol>:lock    the token of who asks the table, for as long as that may take;
                                     empty where it knew nothing, for as long as that is believed

Ticks are msgpack arrays of their fields, and a sequence is the number of their rank; the version of
one that was said anew is its fraction. While Redis is away, `take` and `give` raise what redis-py
raises (then the table answers), and what was put is kept, newest per symbol, until it is back.

Redis may come back empty, or as it was a while ago, and nobody says so. But then the place is gone,
or before the one that the feed wrote last: with its next batch the feed sees that, deletes what is
there, writes all that it ever put anew, and only then a place again.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

import msgpack
from django.conf import settings
from prometheus_client import Counter
from redis import BlockingConnectionPool, Redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, RedisError
from redis.retry import Retry

from quotes.latest.local import Latest, newest
from quotes.ticks import Place, Quote, Trade

Item = TypeVar("Item")
Key = tuple[str, str]  # field and symbol

TIMEOUT_SECONDS = 0.2
AWAY_SECONDS = 1.0  # after an error nobody waits for Redis again until then
SYMBOLS_PER_CALL = 500

# Equal numbers are the same tick and may be repeated.
PUT = """
local function put_unless_older(key, field, epoch, sequence, tick)
    local held = redis.call('HMGET', key, field .. ':epoch', field .. ':sequence')
    local held_epoch, held_sequence = tonumber(held[1] or -1), tonumber(held[2] or -1)
    local new_epoch, new_sequence = tonumber(epoch), tonumber(sequence)
    if new_epoch > held_epoch or (new_epoch == held_epoch and new_sequence >= held_sequence) then
        redis.call('HSET', key, field, tick,
            field .. ':epoch', epoch, field .. ':sequence', sequence)
    end
end
"""

# ARGV: for the first key, the place, epoch and number that are kept and those to come to, empty if
# none; for each further key field, epoch, sequence, tick. Answers 0 where the place is gone or is
# before the kept one: something is missing. A feed that was succeeded moves it no more.
PUT_MANY = f"""{PUT}
for i = 2, #KEYS do
    put_unless_older(KEYS[i], ARGV[4 * i - 3], ARGV[4 * i - 2], ARGV[4 * i - 1], ARGV[4 * i])
end
if ARGV[3] == '' then
    return 1
end
local held = redis.call('HMGET', KEYS[1], 'epoch', 'number')
local held_epoch, held_number = tonumber(held[1] or -1), tonumber(held[2] or -1)
local function is_before(epoch, number)
    return held_epoch < epoch or (held_epoch == epoch and held_number < number)
end
if is_before(tonumber(ARGV[1]), tonumber(ARGV[2])) then
    return 0
end
if is_before(tonumber(ARGV[3]), tonumber(ARGV[4])) then
    redis.call('HSET', KEYS[1], 'epoch', ARGV[3], 'number', ARGV[4])
end
return 1
"""

# ARGV: token, lock ms. Answers for each key quote, trade, and 0 known, 1 locked for the caller,
# 2 locked by another.
TAKE = """
local answer = {}
for i, key in ipairs(KEYS) do
    local held, state = redis.call('HMGET', key, 'quote', 'trade', 'whole'), 0
    if not (held[3] or (held[1] and held[2])) then
        if redis.call('SET', key .. ':lock', ARGV[1], 'NX', 'PX', ARGV[2]) then
            state = 1
        elseif redis.call('GET', key .. ':lock') ~= '' then
            state = 2
        end
    end
    answer[3 * i - 2], answer[3 * i - 1], answer[3 * i] = held[1], held[2], state
end
return answer
"""

# ARGV: token, absent ms, then for each key whether it was loaded, and epoch, sequence and tick of
# the quote and of the trade, empty where there is none. Answers for each key quote and trade.
GIVE = f"""{PUT}
local answer = {{}}
for i, key in ipairs(KEYS) do
    local a = 7 * i - 4
    local ours = redis.call('GET', key .. ':lock') == ARGV[1]
    if ours then
        redis.call('DEL', key .. ':lock')
    end
    if ARGV[a] == '1' then
        if ARGV[a + 3] ~= '' then
            put_unless_older(key, 'quote', ARGV[a + 1], ARGV[a + 2], ARGV[a + 3])
        end
        if ARGV[a + 6] ~= '' then
            put_unless_older(key, 'trade', ARGV[a + 4], ARGV[a + 5], ARGV[a + 6])
        end
        if redis.call('EXISTS', key) == 1 then
            redis.call('HSET', key, 'whole', 1)
        elseif ours then
            redis.call('SET', key .. ':lock', '', 'PX', ARGV[2])
        end
    end
    local held = redis.call('HMGET', key, 'quote', 'trade')
    answer[2 * i - 1], answer[2 * i] = held[1], held[2]
end
return answer
"""

KNOWN, NIL = b"\x91\x92", b"\xc0"  # msgpack: a list of one that is a list of two; nothing
UNKNOWN = b"\x90"  # an empty list
PLACE = "openbell:latest:<place>"  # no symbol
NOWHERE = Place(-1, -1)
VERSION_MAX = (1 << 20) - 1

UNAVAILABLE = Counter(
    "openbell_latest_redis_unavailable_total", "Calls that Redis did not answer.", ["call"]
)
FILLED_AGAIN = Counter(
    "openbell_latest_redis_filled_again_total", "Times that Redis had lost what was put."
)
log = logging.getLogger(__name__)


class RedisStore:
    """Redis behind the contract of `Store`."""

    is_remote = True

    def __init__(self, url: str) -> None:
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=settings.REDIS_CONNECTIONS_MAX,
            timeout=settings.REDIS_TURN_SECONDS,
            socket_timeout=TIMEOUT_SECONDS,
            socket_connect_timeout=TIMEOUT_SECONDS,
            retry=Retry(NoBackoff(), 1),
        )
        self._redis: Redis = Redis(connection_pool=pool)
        self._put = self._redis.register_script(PUT_MANY)
        self._take = self._redis.register_script(TAKE)
        self._give = self._redis.register_script(GIVE)
        self._own = threading.local()
        self._lock = threading.Lock()
        self._put_here: dict[Key, Quote | Trade] = {}  # the newest of what was put
        self._unsent: set[Key] = set()
        self._unsent_place: Place | None = None
        self._kept = NOWHERE  # the place that Redis has, unless it lost it
        self._away_until = 0.0

    def put_many(self, ticks: Iterable[Quote | Trade], place: Place | None = None) -> None:
        quotes, trades = newest(ticks)
        with self._lock:
            put: dict[Key, Quote | Trade] = {
                **{("quote", symbol): quote for symbol, quote in quotes.items()},
                **{("trade", symbol): trade for symbol, trade in trades.items()},
            }
            self._put_here |= put
            self._unsent |= put.keys()
            self._unsent_place = place or self._unsent_place
            if self._is_away():
                return
            sending, self._unsent = self._unsent, set()
            place = self._unsent_place
        try:
            if not self._send(sending, self._kept, place):
                self._fill_again(place or NOWHERE)
            self._kept = place or self._kept
        except RedisError as error:
            self._note_away("put", error)
            with self._lock:
                self._unsent |= sending

    def place(self) -> Place | None:
        if self._is_away():
            return None
        try:
            held: Any = self._redis.hmget(PLACE, "epoch", "number")
        except RedisError as error:
            self._note_away("place", error)
            return None
        return None if None in held else Place(int(held[0]), int(held[1]))

    def get_many(self, symbols: list[str]) -> dict[str, Latest]:
        if self._is_away():
            return {}
        pipeline = self._redis.pipeline(transaction=False)
        for symbol in symbols:
            pipeline.hmget(_key(symbol), "quote", "trade")
        try:
            answers: list[list[bytes | None]] = pipeline.execute() if symbols else []
        except RedisError as error:
            self._note_away("get", error)
            return {}
        found = {}
        for symbol, (quote, trade) in zip(symbols, answers, strict=True):
            if quote is not None or trade is not None:
                found[symbol] = Latest(_unpack(Quote, quote), _unpack(Trade, trade))
        return found

    def take(self, keys: list[str], token: str, lock_ms: int) -> tuple[dict[str, bytes], list[str]]:
        """What is known of the symbols, and those the caller has to load: it has their locks.

        Of the others another loads. One round trip, and one more for each `SYMBOLS_PER_CALL`.
        """
        found, locked = {}, []
        for symbols in _calls(keys):
            answer = self._run_take(_keys(symbols), token, lock_ms)
            rows = zip(symbols, answer[::3], answer[1::3], answer[2::3], strict=True)
            for symbol, quote, trade, state in rows:
                if state == 0:
                    found[symbol] = _pair(quote, trade)
                elif state == 1:
                    locked.append(symbol)
        return found, locked

    def give(
        self, packed: Mapping[str, bytes | None], token: str, absent_ms: int
    ) -> dict[str, bytes]:
        """Write what was loaded where nothing newer stands, and free the locks; what stands then.

        None frees a lock without a word on the symbol.
        """
        standing = {}
        for symbols in _calls(list(packed)):
            args: list[Any] = [token, absent_ms]
            for symbol in symbols:
                args += _loaded(packed[symbol])
            answer: Any = self._give(keys=_keys(symbols), args=args)
            for symbol, quote, trade in zip(symbols, answer[::2], answer[1::2], strict=True):
                if packed[symbol] is not None:
                    standing[symbol] = _pair(quote, trade)
        return standing

    def clear(self) -> None:
        with self._lock:
            self._put_here.clear()
            self._unsent.clear()
            self._unsent_place = None
            self._kept = NOWHERE
        self._delete_all()

    def _delete_all(self) -> None:
        for keys in _calls(list(self._redis.scan_iter(_key("*"), count=1000))):
            self._redis.delete(*keys)

    def _send(self, keys: Iterable[Key], kept: Place, place: Place | None) -> bool:
        """Write the ticks, and with the last that all up to the place is there.

        False where what was there up to the `kept` place is not.
        """
        *calls, last = [*_calls(list(keys))] or [[]]
        for some in calls:
            self._put(*self._written(some))
        return bool(self._put(*self._written(last, kept, place)))

    def _written(
        self, some: list[Key], kept: Place = NOWHERE, place: Place | None = None
    ) -> tuple[list[str], list[Any]]:
        """Keys and arguments of `PUT_MANY`."""
        keys, args = [PLACE], [*kept, *(place or ("", ""))]
        for field, symbol in some:
            tick = self._put_here[field, symbol]
            keys.append(_key(symbol))
            args += (field, *_order(tick), msgpack.packb(tick))
        return keys, args

    def _fill_again(self, place: Place) -> None:
        """Write all that was put here, and nothing else stays: the table may know newer ticks.

        Where that gets lost, too, the next put does it again.
        """
        with self._lock:
            keys = list(self._put_here)
        FILLED_AGAIN.inc()
        log.warning("latest quotes: Redis has lost them; %d are written anew", len(keys))
        begun = Place(place.epoch, 0)  # no batch has this number
        self._redis.delete(PLACE)
        self._delete_all()
        self._send([], NOWHERE, begun)
        self._send(keys, begun, place)

    def _run_take(self, keys: list[str], *args: Any) -> Any:
        """The answer of `TAKE`, on a connection of this thread's own.

        Every order asks it, and a pool's ways to a connection cost more than the question.
        """
        if not hasattr(self._own, "connection"):
            pool = self._redis.connection_pool
            self._own.connection = pool.connection_class(**pool.connection_kwargs)
        try:
            self._own.connection.send_command("EVALSHA", self._take.sha, len(keys), *keys, *args)
            return self._own.connection.read_response()
        except (RedisConnectionError, NoScriptError):  # it was old, or Redis is new: once more
            return self._take(keys=keys, args=args)

    def _is_away(self) -> bool:
        return time.monotonic() < self._away_until

    def _note_away(self, call: str, error: RedisError) -> None:
        UNAVAILABLE.labels(call).inc()
        log.warning("latest quotes: Redis did not answer (%s)", error)
        self._away_until = time.monotonic() + AWAY_SECONDS


def _order(tick: Quote | Trade) -> tuple[int, int | float]:
    """Epoch and sequence as they are compared there. Exact: a number of a trade has 32 bits, and a
    double, which is all that Lua knows, takes 20 more."""
    if isinstance(tick, Quote) or not tick.stands:
        return tick.epoch, tick.sequence
    epoch, number, version = tick.rank
    return epoch, number + min(version, VERSION_MAX) / (VERSION_MAX + 1)


def _key(symbol: str) -> str:
    return f"openbell:latest:{symbol}"


def _keys(symbols: list[str]) -> list[str]:
    return [_key(symbol) for symbol in symbols]


def _calls(items: list[Item]) -> Iterator[list[Item]]:
    for begin in range(0, len(items), SYMBOLS_PER_CALL):
        yield items[begin : begin + SYMBOLS_PER_CALL]


def _pair(quote: bytes | None, trade: bytes | None) -> bytes:
    if quote is None and trade is None:
        return UNKNOWN
    return KNOWN + (quote or NIL) + (trade or NIL)


def _loaded(packed: bytes | None) -> list[Any]:
    """What `GIVE` wants to know of a key."""
    if packed is None:
        return [0, *("",) * 6]
    args: list[Any] = [1]
    [ticks] = msgpack.unpackb(packed, use_list=False) or [(None, None)]
    kinds: tuple[Any, Any] = (Quote, Trade)
    for kind, fields in zip(kinds, ticks, strict=True):
        tick = None if fields is None else kind._make(fields)
        args += ("",) * 3 if tick is None else (*_order(tick), msgpack.packb(tick))
    return args


def _unpack(kind: type[Any], packed: bytes | None) -> Any:
    return None if packed is None else kind(*msgpack.unpackb(packed, use_list=False))
