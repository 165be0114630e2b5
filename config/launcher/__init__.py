"""The embedded start: the whole platform in one process, `python -m config.launcher`.

__main__.py    the order of things, and plain sentences for what may go wrong
home.py        the folder that holds all state, and who may use it
market.py      the database, the market and its past
demo.py        the demo user, their account and their key
static.py      static files under hashed names
background.py  feed and execution, each in a thread that is watched
banner.py      what a started platform says
"""
