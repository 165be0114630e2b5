"""A WebSocket client that writes its own frames, and reads only when it is told to."""

from __future__ import annotations

import base64
import json
import os
import select
import socket
from typing import Any

from tests.waiting import PATIENCE_SECONDS

AUTH = {"action": "auth", "key": "KEY", "secret": "secret"}

CONTINUES, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
FINAL = 0x80


def open_socket(port: int, path: str = "/v2/iex", **headers: str) -> socket.socket:
    """A connection after its handshake, with a small buffer of its own."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.settimeout(PATIENCE_SECONDS)
    client.connect(("127.0.0.1", port))
    sent = {
        "Host": f"127.0.0.1:{port}",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
        "Sec-WebSocket-Version": "13",
        **headers,
    }
    lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in sent.items())]
    client.sendall("\r\n".join([*lines, "", ""]).encode())
    return client


def stall(port: int, path: str = "/v2/iex", **wanted: list[str]) -> socket.socket:
    """A client that subscribes and then reads nothing more."""
    client = open_socket(port, path)
    hear(client, b"connected")
    client.sendall(masked(AUTH))
    hear(client, b"authenticated")
    if wanted:
        client.sendall(masked({"action": "subscribe", **wanted}))
    return client


def hear(client: socket.socket, word: bytes) -> bytes:
    """Read until the word has come; all of it."""
    heard = b""
    while word not in heard:
        received = client.recv(4096)
        assert received, heard
        heard += received
    return heard


def masked(message: dict[str, Any]) -> bytes:
    """A message as one frame of a client."""
    return frame(FINAL | TEXT, json.dumps(message).encode())


def frame(head: int, payload: bytes) -> bytes:
    """A frame of a client, with a mask of zeros; `head` is FINAL or not, and the opcode."""
    assert len(payload) < 126
    return bytes((head, 0x80 | len(payload))) + bytes(4) + payload


def is_cut(client: socket.socket, seconds: float) -> bool:
    """Whether the server ends the connection within so long, as seen without reading."""
    poll = select.poll()
    poll.register(client, 0)  # an end is always told
    return bool(poll.poll(seconds * 1_000))
