"""From the feed to everybody: ticks are read as market time comes to them, and passed on.

`batches` holds the turn of the loop, a micro-batch: read, latest quotes, bars, publish. `recorder`
writes the database beside it, as the feed's owner. `process` runs both: one thread with its own
event loop for the turns and one for writing.
"""

from quotes.ingest.batches import Ingest
from quotes.ingest.process import configured_feed, run_feed

__all__ = ["Ingest", "configured_feed", "run_feed"]
