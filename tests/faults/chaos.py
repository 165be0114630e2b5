"""A TCP proxy that loses, repeats, reorders and cuts up what is said through it, or falls silent.

It stands between Redis and who hears its pub/sub, or between a server and its WebSocket clients.
It knows both protocols just well enough to tell one message from the next, and hurts only those
that carry news: an answer to a command, a handshake or a ping arrives. What a client says it hurts
only where it is told how to tell that apart, too, and asked to.
"""

from __future__ import annotations

import asyncio
import random
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

CHUNK = 64 * 1024
PIECE_MAX = 40  # bytes of a message that is cut up
POLL_SECONDS = 0.01

# Takes whole messages off the front of a buffer: each with whether it carries news.
Splitter = Callable[[bytearray], Iterator[tuple[bytes, bool]]]


@dataclass
class Mischief:
    """What is done to messages; all of it may be changed at any time, from any thread."""

    rate: float = 0.0  # how likely a message is dropped, repeated or overtaken by the next
    asking_rate: float = 0.0  # the same of what clients say
    loses: bytes | None = None  # news that have these words in them never arrive
    cuts: bool = False  # messages arrive in small pieces
    is_mute: bool = False  # nothing passes, and nobody is told
    is_away: bool = False  # connections are refused, and those that were open are gone
    done: dict[str, int] = field(default_factory=dict)
    done_asking: dict[str, int] = field(default_factory=dict)


class ChaosProxy:
    """Listens on a port of its own and passes on to the target, with mischief."""

    def __init__(
        self,
        port: int,
        splitter: Callable[[], Splitter],
        asking: Callable[[], Splitter] | None = None,
        seed: int = 1,
    ) -> None:
        self.target = port
        self.mischief = Mischief()
        self._splitter = splitter
        self._asking = asking or whole
        self._chance = random.Random(seed)
        self._loop = asyncio.new_event_loop()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._serving.cancel)
        self._thread.join(5)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._serving = self._loop.create_task(self._serve())
        with suppress(asyncio.CancelledError):
            self._loop.run_until_complete(self._serving)
        self._loop.close()

    async def _serve(self) -> None:
        async with asyncio.TaskGroup() as connections:

            def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                connections.create_task(self._carry(reader, writer))

            server = await asyncio.start_server(accept, sock=self._listener)
            async with server:
                await server.serve_forever()

    async def _carry(self, client: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        """One connection, until either side ends it or the proxy goes away."""
        writers, ways = [back], list[asyncio.Task[None]]()
        try:
            if self.mischief.is_away:
                return
            server, forth = await asyncio.open_connection("127.0.0.1", self.target)
            writers.append(forth)
            for passing in (self._ask(client, forth), self._answer(server, back), self._end()):
                ways.append(asyncio.create_task(passing))
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        except OSError:
            pass
        finally:
            for way in ways:
                way.cancel()
            for writer in writers:
                writer.transport.abort()
            await asyncio.gather(*ways, return_exceptions=True)

    async def _end(self) -> None:
        while not self.mischief.is_away:
            await asyncio.sleep(POLL_SECONDS)

    async def _ask(self, client: asyncio.StreamReader, forth: asyncio.StreamWriter) -> None:
        did = self.mischief
        await self._pass(client, forth, self._asking(), lambda: (did.asking_rate, did.done_asking))

    async def _answer(self, server: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        did = self.mischief
        await self._pass(server, back, self._splitter(), lambda: (did.rate, did.done))

    async def _pass(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        split: Splitter,
        how: Callable[[], tuple[float, dict[str, int]]],
    ) -> None:
        buffer, late = bytearray(), list[bytes]()
        while data := await reader.read(CHUNK):
            buffer += data
            for message, is_news in split(buffer):
                await self._wait_out()
                for each in self._hurt(message, late, *how()) if is_news else [message]:
                    await self._write(writer, each)

    async def _wait_out(self) -> None:
        while self.mischief.is_mute:
            await asyncio.sleep(POLL_SECONDS)

    def _hurt(
        self, message: bytes, late: list[bytes], rate: float, done: dict[str, int]
    ) -> list[bytes]:
        overtaken = late[:]
        late.clear()
        if self.mischief.loses is not None and self.mischief.loses in message:
            done["drop"] = done.get("drop", 0) + 1
            return overtaken
        if self._chance.random() >= rate:
            return [message, *overtaken]
        fault = self._chance.choice(("drop", "repeat", "delay"))
        done[fault] = done.get(fault, 0) + 1
        if fault == "delay":
            late.append(message)
        return [*([message, message] if fault == "repeat" else []), *overtaken]

    async def _write(self, back: asyncio.StreamWriter, message: bytes) -> None:
        at = 0
        while at < len(message):
            size = self._chance.randrange(1, PIECE_MAX) if self.mischief.cuts else len(message)
            back.write(message[at : at + size])
            await back.drain()
            at += size
            if self.mischief.cuts:
                await asyncio.sleep(0)


@contextmanager
def chaos(
    port: int, splitter: Callable[[], Splitter], asking: Callable[[], Splitter] | None = None
) -> Iterator[ChaosProxy]:
    """A proxy before the server on this port of this machine."""
    proxy = ChaosProxy(port, splitter, asking)
    try:
        yield proxy
    finally:
        proxy.close()


def whole() -> Splitter:
    """Whatever has come, of which nothing is news."""

    def split(buffer: bytearray) -> Iterator[tuple[bytes, bool]]:
        data = bytes(buffer)
        buffer.clear()
        yield data, False

    return split


def redis_replies() -> Splitter:
    """Whole replies of Redis; news are the messages of its pub/sub."""

    def split(buffer: bytearray) -> Iterator[tuple[bytes, bool]]:
        while (end := _reply_end(buffer, 0)) is not None:
            reply = bytes(buffer[:end])
            del buffer[:end]
            yield reply, reply[1:].startswith(b"3\r\n$7\r\nmessage\r\n")

    return split


def _reply_end(buffer: bytearray, at: int) -> int | None:
    """Where the reply that begins here ends; None while not all of it is there."""
    line_end = buffer.find(b"\r\n", at)
    if line_end < 0:
        return None
    kind, after = buffer[at : at + 1], line_end + 2
    if kind == b"$":
        length = int(buffer[at + 1 : line_end])
        after += length + 2 if length >= 0 else 0
        return after if after <= len(buffer) else None
    if kind in (b"*", b">", b"%"):  # an array, a push and a map, which has two of each
        for _ in range(int(buffer[at + 1 : line_end]) * (2 if kind == b"%" else 1)):
            end = _reply_end(buffer, after)
            if end is None:
                return None
            after = end
    return after


def websocket_frames() -> Splitter:
    """The handshake, or the answer to it, then whole frames; news are text and binary."""
    greeted = False

    def split(buffer: bytearray) -> Iterator[tuple[bytes, bool]]:
        nonlocal greeted
        if not greeted:
            end = buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            greeted = True
            yield bytes(buffer[: end + 4]), False
            del buffer[: end + 4]
        while (end := _frame_end(buffer)) is not None:
            frame = bytes(buffer[:end])
            del buffer[:end]
            yield frame, frame[0] & 0x0F in (1, 2)

    return split


def _frame_end(buffer: bytearray) -> int | None:
    if len(buffer) < 2:
        return None
    length, begin = buffer[1] & 0x7F, 2
    mask = 4 if buffer[1] & 0x80 else 0  # of a client
    wide = {126: 2, 127: 8}.get(length, 0)
    if wide:
        begin += wide
        length = int.from_bytes(buffer[2:begin])
    end = begin + mask + length
    return end if len(buffer) >= end else None
