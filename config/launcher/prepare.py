"""What a set of processes finds when it starts: `python -m config.launcher.prepare ADDRESS`.

The database's tables, an open market, the demo user with their key and the platform's address in
`demo.env`, static files. The past of a simulated market takes a while: `… prepare past` writes it
beside processes that already run.
"""

from __future__ import annotations

import os
import sys

from config import environment
from config.launcher.problems import Problem, in_plain_sentences


def main() -> int:
    """Returns the exit code: 1 where something is missing, which is said in one sentence."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    try:
        with in_plain_sentences():
            environment.read_env_file()
            import django

            django.setup()
            address = sys.argv[1]
            if address == "past":
                fill_past()
            else:
                prepare(address)
    except Problem as problem:
        print(problem, file=sys.stderr)
        return 1
    return 0


def prepare(address: str) -> None:
    """All that the processes need; repeating it changes nothing."""
    from django.conf import settings

    from config.launcher import demo, market, static

    settings.MARKET_HOME.mkdir(parents=True, exist_ok=True, mode=0o700)
    market.migrate()
    market.open_with_past(later=settings.FEED == "simulated")
    credentials = demo.prepare(settings.MARKET_HOME)
    demo.publish(credentials, settings.HOME / "demo.env", address=address)
    static.collect_if_changed()


def fill_past() -> None:
    """The market's past, up to where this market was opened; once, marked by a file."""
    from django.conf import settings

    from config.databases.start import check_servers
    from config.launcher import market

    check_servers()
    mark = settings.MARKET_HOME / "past"
    if settings.FEED == "simulated" and not mark.exists():
        market.fill_past_beside_others()
        mark.touch()


if __name__ == "__main__":
    sys.exit(main())
