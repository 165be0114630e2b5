"""The edge for a benchmark: nginx as deploy/nginx/openbell.conf.template configures it."""

from __future__ import annotations

import os
from pathlib import Path

TEMPLATE = Path(__file__).resolve().parent.parent / "deploy" / "nginx" / "openbell.conf.template"


def nginx(home: Path, port: int, web_port: int) -> list[str]:
    """The command that serves on a port, before the web process on another."""
    state = home / "nginx"
    state.mkdir()
    text = TEMPLATE.read_text()
    for name, value in {
        "user": "user root;" if os.getuid() == 0 else "",  # or it could not read its own folder
        "state": str(state),
        "real_ip_from": "",
        "web_servers": f"server 127.0.0.1:{web_port};",
        "stream_servers": f"server 127.0.0.1:{web_port};",  # nobody asks for a stream here
        "listen": f"127.0.0.1:{port}",
    }.items():
        text = text.replace(f"@{name}@", value)
    configuration = state / "nginx.conf"
    configuration.write_text(text)
    return ["nginx", "-c", str(configuration), "-p", str(state)]
