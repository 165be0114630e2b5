"""Who acts where a management command is run: the event log names the person, not only the way."""

from __future__ import annotations

import os
import pwd

ACTOR_LENGTH_MAX = 80  # of the event's column


def operator() -> str:
    """How the event log names whoever runs this command: by the login name on this machine.

    That is who logged in, also behind sudo or su; else, as under cron or in a container, the user
    that the process runs as. What the environment says counts for nothing.
    """
    return f"operator:command:{_login_name()}"[:ACTOR_LENGTH_MAX]


def _login_name() -> str:
    try:
        return os.getlogin()
    except OSError:  # nobody logged in
        pass
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # as in a container that runs under a bare number
        return str(os.getuid())
