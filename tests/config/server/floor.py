"""A small server for the tests beside it: `python -m tests.config.server.floor`.

Prints the port it listens on, then one line per thing that ended well. The WSGI side answers
`/` with what it got, `/held` once its gate is open, and `/sockets` with how many it has in memory;
each socket does what its path says.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import socket
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from config.server.frames import EXTENSION
from config.server.http import HttpApplication
from config.server.server import OpenbellServer
from config.server.sockets import BoundedSocket
from tests.config.server.gate import Gate

MEGABYTE = b"x" * 1024 * 1024
WAIT_SECONDS_MAX = 1.0  # for a thread
FRAME = b"\x82\x05frame"


def wsgi(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    if environ["PATH_INFO"] == "/held":
        Gate(Path(environ["QUERY_STRING"])).hold()
    if environ["PATH_INFO"] == "/sockets":
        gc.disable()
        kept = sum(isinstance(each, BoundedSocket) for each in gc.get_objects())
        start_response("200 OK", [("Content-Type", "application/json")])
        return [str(kept).encode()]
    if environ["PATH_INFO"] == "/broken":
        raise RuntimeError("broken on purpose")
    status = "204 No Content" if environ["PATH_INFO"] == "/empty" else "200 OK"
    start_response(status, [("Content-Type", "application/json"), ("X-Twice", "a")])
    if status.startswith("204"):
        return []
    body = environ["wsgi.input"].read()
    seen = {key: value for key, value in environ.items() if isinstance(value, str)}
    return [json.dumps({**seen, "body": body.decode()}).encode()]


async def sockets(scope: dict[str, Any], receive: Any, send: Any) -> None:
    await receive()
    if scope["path"] == "/refuse":
        await send({"type": "websocket.close"})
        return
    frames = scope["extensions"][EXTENSION]
    frames.write(FRAME)  # before accept: goes nowhere
    await send({"type": "websocket.accept"})
    try:
        await ROOMS[scope["path"]](receive, send, frames)
    finally:
        print("ended", scope["path"], flush=True)


async def echo(receive: Any, send: Any, frames: Any) -> None:
    while (message := await receive())["type"] == "websocket.receive":
        if message.get("text") == "close":
            await send({"type": "websocket.close", "code": 1008, "reason": "you asked for it"})
        else:
            await send({"type": "websocket.send", "text": message["text"]})
    frames.write(FRAME)  # after close: goes nowhere
    print("disconnected", message["code"], flush=True)


async def shared(receive: Any, send: Any, frames: Any) -> None:
    """Plain sends and prebuilt frames must arrive in the order of writing."""
    for number in range(200):
        await send({"type": "websocket.send", "text": str(number)})
        frames.write(FRAME * 50)
    await receive()


async def flood(receive: Any, send: Any, frames: Any) -> None:
    for _ in range(200):
        await send({"type": "websocket.send", "bytes": MEGABYTE})


async def pile(receive: Any, send: Any, frames: Any) -> None:
    """Frames have no back-pressure of their own: the hub asks for the backlog."""
    written = 0
    while frames.backlog() < 4 * len(MEGABYTE):
        frames.write(b"\x82\x7f" + len(MEGABYTE).to_bytes(8, "big") + MEGABYTE)
        written += 1
        await asyncio.sleep(0)
    print("backlog after", written, "frames", flush=True)
    frames.abort()
    await receive()


async def brim(receive: Any, send: Any, frames: Any) -> None:
    """More than the kernels of both ends take, and less than makes anybody wait."""
    while frames.backlog() < 32 * 1024:
        while frames.backlog() < 32 * 1024:
            frames.write(b"\x82\x7e\x04\x00" + MEGABYTE[:1024])
        await asyncio.sleep(0.2)  # they may take more yet
    print("full", flush=True)
    await receive()


async def sleepy(receive: Any, send: Any, frames: Any) -> None:
    """Reads slowly, and says how much was waiting when it began."""
    await asyncio.sleep(1)
    count = 0
    while (message := await receive())["type"] == "websocket.receive":
        count += 1
        if message.get("text") == "end":
            await send({"type": "websocket.send", "text": str(count)})


ROOMS = {f"/{room.__name__}": room for room in (echo, shared, flood, pile, brim, sleepy)}


async def answer(http: Any, scope: dict[str, Any], receive: Any, send: Any) -> None:
    """And print what is not answered, because its client left."""
    said = []

    async def say(message: dict[str, Any]) -> None:
        said.append(message["type"])
        await send(message)

    await http(scope, receive, say)
    if not said:
        print("left", scope["path"], flush=True)


def seconds(name: str, otherwise: float) -> float:
    return float(os.environ.get(name, otherwise))


def main() -> None:
    # After the server's module, which installs the reactor.
    from config.server import requests
    from config.server import sockets as server_sockets

    server_sockets.CLOSE_TIMEOUT_SECONDS = seconds(
        "CLOSE_SECONDS", server_sockets.CLOSE_TIMEOUT_SECONDS
    )
    server_sockets.STALL_SECONDS_MAX = seconds("STALL_SECONDS", server_sockets.STALL_SECONDS_MAX)
    requests.HEAD_SECONDS_MAX = seconds("HEAD_SECONDS", requests.HEAD_SECONDS_MAX)
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    waits = seconds("WAIT_SECONDS", WAIT_SECONDS_MAX)
    http = HttpApplication(wsgi, threads=2, waiting_max=2, wait_seconds_max=waits)

    async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await answer(http, scope, receive, send)
        else:
            await sockets(scope, receive, send)

    OpenbellServer(
        application,
        listener=listener,
        when_ready=lambda: print(port, flush=True),
        notice_seconds=seconds("NOTICE_SECONDS", 0.0),
        when_told=lambda: print("told", flush=True),
        when_draining=lambda: print("draining", flush=True),
    ).run()
    http.close()
    print("clean exit", flush=True)


if __name__ == "__main__":
    main()
