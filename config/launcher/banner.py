"""What a started platform says: where it is, who may come in, and how a program begins."""

from __future__ import annotations

from django.conf import settings

from config.launcher import demo
from config.launcher.demo import Demo
from quotes.models import Instrument

BANNER = """
Openbell is open: {market}.

  Address    {url}/
  Login      {demo.username}
  Password   {demo.password}
  API key    {demo.key_id}
  Secret     {demo.secret}
             (also in {env_file})

  from alpaca.trading.client import TradingClient
  from alpaca.trading.requests import MarketOrderRequest
  client = TradingClient("{demo.key_id}", "{demo.secret}", url_override="{url}")
  client.submit_order(MarketOrderRequest(symbol="{symbol}", qty=1, side="buy", time_in_force="day"))
  print(client.get_all_positions())

Ctrl-C stops it.
"""


def greet(url: str, credentials: Demo, symbol: str) -> None:
    """Say that the platform is open, on the terminal and in `demo.env`."""
    env_file = settings.HOME / "demo.env"
    demo.publish(credentials, env_file, address=url)
    text = BANNER.format(
        market=_market(), url=url, demo=credentials, env_file=env_file, symbol=symbol
    )
    print(text, flush=True)


def example_symbol() -> str:
    """One that the market trades, the best known if it is there."""
    symbols = Instrument.objects.order_by("symbol").values_list("symbol", flat=True)
    return "AAPL" if "AAPL" in symbols else symbols.first() or "AAPL"


def _market() -> str:
    pace = "moves when it is told to" if settings.FEED_STEPPED else ""
    if settings.FEED == "lean":
        pace = pace or f"played at {settings.FEED_SPEED:g} times its speed"
        return f"the recorded day {settings.FEED_DATE}, {pace}"
    if settings.FEED == "alpaca":
        return f"the live market of {settings.UPSTREAM_URL}"
    return f"a simulated market (seed {settings.FEED_SEED}), {pace or 'around the clock'}"
