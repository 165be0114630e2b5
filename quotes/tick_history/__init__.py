"""Every quote and trade of the last day or so, as it was published.

Ingest leaves each batch in a `Backlog` and goes on; a `Historian` writes from there in a thread of
its own, in short transactions. `store` is the two tables, `retention` what is thrown away: on MySQL
whole partitions, on SQLite a few rows at a time. A tick is in the history a quarter of a second
after it was published, or later where the database is busy. What it costs, `benchmarks/` tell:
`tick_history.py`, and `replay.py --flat-out` with TICK_RETENTION_DAYS at 1 and at 0.
"""
