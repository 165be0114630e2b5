"""Where the platform listens, and under which names it is asked for."""

from __future__ import annotations

import contextlib
import os
import socket

from config import environment
from config.launcher.problems import Problem

PORT_MAX = 65_535
WILDCARDS = frozenset({"0.0.0.0", "::"})


def bind() -> socket.socket:
    """Take HOST and PORT before anything else is done; listening begins when all is ready."""
    host, port = environment.text("HOST", "127.0.0.1"), environment.whole("PORT", default=8000)
    if port > PORT_MAX:
        raise Problem(f"PORT={port} is no port; one between 1 and {PORT_MAX} is.")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
        raise Problem(
            f"Openbell cannot listen on {host}, port {port}: {reason}. "
            f"Another one is chosen like this: make run PORT={(port + 1) % PORT_MAX}"
        ) from error
    return listener


def public_url(listener: socket.socket) -> str:
    """The address to type on this machine."""
    host, port = listener.getsockname()[:2]
    if host in WILDCARDS:
        host = "127.0.0.1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def allow_own_names() -> None:
    """Where HOST opens the platform to a network, let it be asked for by this machine's names.

    Not by every name: a page of somebody else's, whose name they point at us, stays outside.
    """
    host = environment.text("HOST", "127.0.0.1")
    if environment.text("ALLOWED_HOSTS") or host in ("127.0.0.1", "localhost", "::1"):
        return
    names = {"localhost", "127.0.0.1", "[::1]"}
    if host in WILDCARDS:
        name = socket.gethostname()
        names |= {name, f"{name}.local"} | _addresses_of(name)
    else:
        names.add(f"[{host}]" if ":" in host else host)
    os.environ["ALLOWED_HOSTS"] = ",".join(sorted(names))


def _addresses_of(name: str) -> set[str]:
    found: set[str] = set()
    with contextlib.suppress(OSError):  # one that does not know its own name is not asked by it
        found |= {str(entry[4][0]) for entry in socket.getaddrinfo(name, None, socket.AF_INET)}
    with (
        contextlib.suppress(OSError),  # no network, no address on it
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe,
    ):
        probe.connect(("192.0.2.1", 9))  # sends nothing: asks which address would be used
        found.add(probe.getsockname()[0])
    return found
