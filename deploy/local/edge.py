"""nginx's configuration, out of deploy/nginx/openbell.conf.template."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

TEMPLATE = Path(__file__).resolve().parents[1] / "nginx" / "openbell.conf.template"


def configuration(
    state: Path,
    *,
    listen: str,
    web_ports: Iterable[int | str],
    stream_ports: Iterable[int | str],
    behind_tls: bool = False,
    proxies: Iterable[str] = (),
) -> str:
    """What makes nginx listen at an address of this machine, before processes on these ports.

    It keeps its files in the folder `state`, which exists. It speaks plain HTTP. `behind_tls`:
    whoever stands in front of it ends TLS, and is believed what it says in X-Forwarded-Proto.
    `proxies`: addresses and networks of those who are believed in X-Forwarded-For, too.
    """
    text = TEMPLATE.read_text()
    for name, value in {
        "user": "user root;" if os.getuid() == 0 else "",  # or it could not read its own folder
        "state": str(state),
        "real_ip_from": "\n  ".join(f"set_real_ip_from {each};" for each in proxies),
        "web_servers": _servers(web_ports, "max_fails=1 fail_timeout=2s"),
        # One that failed would be trusted again when a request of it has ended well. A socket does
        # not end: a stream process that came back would be given one socket in two seconds.
        "stream_servers": _servers(stream_ports, "max_fails=0"),
        # Where nothing stands in front, whoever asks could call anything TLS.
        "forwarded_proto": "$http_x_forwarded_proto" if behind_tls else "$scheme",
        "listen": listen,
    }.items():
        text = text.replace(f"@{name}@", value)
    return text


def _servers(ports: Iterable[int | str], when_failing: str) -> str:
    return "\n    ".join(f"server 127.0.0.1:{port} {when_failing};" for port in ports)
