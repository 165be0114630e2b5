"""The fast store in Redis: one hash per symbol, written only by a script that refuses older ticks.

    openbell:latest:<symbol>    quote, quote:epoch, quote:sequence, trade, trade:epoch, …

Ticks are msgpack arrays of their fields. While Redis is away, reads find nothing (the caller goes
to the table) and writes are kept, newest per symbol, until it is back.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable
from typing import Any

import msgpack
from prometheus_client import Counter
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from quotes.latest.local import Latest, newest
from quotes.ticks import Quote, Trade

TIMEOUT_SECONDS = 0.2
AWAY_SECONDS = 1.0  # after an error nobody waits for Redis again until then
SYMBOLS_PER_CALL = 500

# For each key: field, epoch, sequence, tick. Equal numbers are the same tick and may be repeated.
PUT_UNLESS_OLDER = """
for i, key in ipairs(KEYS) do
    local field, epoch, sequence = ARGV[4 * i - 3], ARGV[4 * i - 2], ARGV[4 * i - 1]
    local held = redis.call('HMGET', key, field .. ':epoch', field .. ':sequence')
    local held_epoch, held_sequence = tonumber(held[1] or -1), tonumber(held[2] or -1)
    epoch, sequence = tonumber(epoch), tonumber(sequence)
    if epoch > held_epoch or (epoch == held_epoch and sequence >= held_sequence) then
        redis.call('HSET', key, field, ARGV[4 * i],
            field .. ':epoch', ARGV[4 * i - 2], field .. ':sequence', ARGV[4 * i - 1])
    end
end
"""

UNAVAILABLE = Counter(
    "openbell_latest_redis_unavailable_total", "Calls that Redis did not answer.", ["call"]
)
log = logging.getLogger(__name__)


class RedisStore:
    """Redis behind the contract of `Store`."""

    is_remote = True

    def __init__(self, url: str) -> None:
        self._redis: Redis = Redis.from_url(
            url,
            socket_timeout=TIMEOUT_SECONDS,
            socket_connect_timeout=TIMEOUT_SECONDS,
            retry=Retry(NoBackoff(), 1),
        )
        self._put = self._redis.register_script(PUT_UNLESS_OLDER)
        self._lock = threading.Lock()
        self._unsent: dict[tuple[str, str], Quote | Trade] = {}
        self._away_until = 0.0

    def put_many(self, ticks: Iterable[Quote | Trade]) -> None:
        quotes, trades = newest(ticks)
        with self._lock:
            self._unsent |= {("quote", symbol): quote for symbol, quote in quotes.items()}
            self._unsent |= {("trade", symbol): trade for symbol, trade in trades.items()}
            if self._is_away():
                return
            sending, self._unsent = self._unsent, {}
        try:
            self._send(list(sending.items()))
        except RedisError as error:
            self._note_away("put", error)
            with self._lock:
                self._unsent = sending | self._unsent

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

    def clear(self) -> None:
        with self._lock:
            self._unsent.clear()
        for key in self._redis.scan_iter(_key("*"), count=1000):
            self._redis.delete(key)

    def _send(self, unsent: list[tuple[tuple[str, str], Quote | Trade]]) -> None:
        for begin in range(0, len(unsent), SYMBOLS_PER_CALL):
            chunk = unsent[begin : begin + SYMBOLS_PER_CALL]
            keys = [_key(symbol) for (_, symbol), _ in chunk]
            values: list[Any] = []
            for (field, _), tick in chunk:
                values += (field, tick.epoch, tick.sequence, msgpack.packb(tick))
            self._put(keys=keys, args=values)

    def _is_away(self) -> bool:
        return time.monotonic() < self._away_until

    def _note_away(self, call: str, error: RedisError) -> None:
        UNAVAILABLE.labels(call).inc()
        log.warning("latest quotes: Redis did not answer (%s)", error)
        self._away_until = time.monotonic() + AWAY_SECONDS


def _key(symbol: str) -> str:
    return f"openbell:latest:{symbol}"


def _unpack(kind: type[Any], packed: bytes | None) -> Any:
    return None if packed is None else kind(*msgpack.unpackb(packed, use_list=False))
