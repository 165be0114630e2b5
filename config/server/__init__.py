"""The embedded server: Daphne, with what it takes to hold thousands of sockets and one Django.

http.py       Django's WSGI handler in a fixed pool of threads, behind Daphne
requests.py   HTTP requests with a bound on their body
sockets.py    WebSockets with back-pressure, a bounded inbox, and shared frames
frames.py     prebuilt frames, written straight to the kernel where that is safe
server.py     listens, and drains when asked to stop
"""
