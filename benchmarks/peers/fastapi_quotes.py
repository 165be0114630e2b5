"""FastAPI with redis.asyncio and orjson: the newest quotes, without keys or limits."""

import os

import orjson
from fastapi import FastAPI, Response  # type: ignore[import-not-found]  # is in .venv-peers
from redis.asyncio import Redis

app = FastAPI()
redis = Redis.from_url(os.environ["REDIS_URL"])


@app.get("/v2/stocks/quotes/latest")
async def latest_quotes(symbols: str) -> Response:
    wanted = sorted(set(symbols.split(",")))
    values = await redis.mget(["peer:" + symbol for symbol in wanted])
    quotes = {
        symbol: orjson.loads(value)
        for symbol, value in zip(wanted, values, strict=True)
        if value is not None
    }
    return Response(orjson.dumps({"quotes": quotes}), media_type="application/json")
