"""The embedded start: the whole platform in one process, `python -m config.launcher`.

__main__.py    the order of things
address.py     where it listens, and under which names it is asked for
home.py        the folder that holds all state, and who may use it
market.py      the database, the market and its past
demo.py        the demo user, their account and their key
static.py      static files under hashed names
background.py  feed, execution and relay, each in a thread that is watched
banner.py      what a started platform says
problems.py    what may go wrong, in plain sentences
"""
