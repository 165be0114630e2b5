"""The fast store in Redis: one hash per symbol, written only by scripts that refuse older ticks.

    openbell:latest:<symbol>         quote, quote:epoch, quote:sequence, trade, trade:epoch, …
                                     whole: the table has been asked, what is missing is nowhere
    openbell:latest:<place>          place:epoch, place:sequence: the batch up to which all is here
    openbell:latest:<symbol>:lock    the token of who asks the table, for as long as that may take;
                                     empty where it knew nothing, for as long as that is believed

Ticks are msgpack arrays of their fields. While Redis is away, `take` and `give` raise what redis-py
raises (then the table answers), and what was put is kept, newest per symbol, until it is back.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

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

# ARGV: for each key field, epoch, sequence, tick.
PUT_MANY = f"""{PUT}
for i, key in ipairs(KEYS) do
    put_unless_older(key, ARGV[4 * i - 3], ARGV[4 * i - 2], ARGV[4 * i - 1], ARGV[4 * i])
end
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
PLACE = "<place>"  # no symbol

UNAVAILABLE = Counter(
    "openbell_latest_redis_unavailable_total", "Calls that Redis did not answer.", ["call"]
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
        self._unsent: dict[tuple[str, str], Quote | Trade] = {}
        self._unsent_place: Place | None = None
        self._away_until = 0.0

    def put_many(self, ticks: Iterable[Quote | Trade], place: Place | None = None) -> None:
        quotes, trades = newest(ticks)
        with self._lock:
            self._unsent |= {("quote", symbol): quote for symbol, quote in quotes.items()}
            self._unsent |= {("trade", symbol): trade for symbol, trade in trades.items()}
            self._unsent_place = place or self._unsent_place
            if self._is_away():
                return
            sending, self._unsent = self._unsent, {}
            place = self._unsent_place
        try:
            self._send(list(sending.items()), place)
        except RedisError as error:
            self._note_away("put", error)
            with self._lock:
                self._unsent = sending | self._unsent

    def place(self) -> Place | None:
        if self._is_away():
            return None
        try:
            held: Any = self._redis.hmget(_key(PLACE), "place:epoch", "place:sequence")
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
            self._unsent.clear()
            self._unsent_place = None
        for key in self._redis.scan_iter(_key("*"), count=1000):
            self._redis.delete(key)

    def _send(
        self, unsent: list[tuple[tuple[str, str], Quote | Trade]], place: Place | None
    ) -> None:
        """Write the ticks, and only then that they are there."""
        rows: list[tuple[str, Any]] = [
            (symbol, (field, tick.epoch, tick.sequence, msgpack.packb(tick)))
            for (field, symbol), tick in unsent
        ]
        if place is not None:
            rows.append((PLACE, ("place", *place, "")))
        for begin in range(0, len(rows), SYMBOLS_PER_CALL):
            chunk = rows[begin : begin + SYMBOLS_PER_CALL]
            values = [value for _, row in chunk for value in row]
            self._put(keys=[_key(name) for name, _ in chunk], args=values)

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


def _key(symbol: str) -> str:
    return f"openbell:latest:{symbol}"


def _keys(symbols: list[str]) -> list[str]:
    return [_key(symbol) for symbol in symbols]


def _calls(symbols: list[str]) -> Iterator[list[str]]:
    for begin in range(0, len(symbols), SYMBOLS_PER_CALL):
        yield symbols[begin : begin + SYMBOLS_PER_CALL]


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
        args += ("",) * 3 if tick is None else (tick.epoch, tick.sequence, msgpack.packb(tick))
    return args


def _unpack(kind: type[Any], packed: bytes | None) -> Any:
    return None if packed is None else kind(*msgpack.unpackb(packed, use_list=False))
