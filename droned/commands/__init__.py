"""The one table of every command, what its targets mean, and the dispatcher that calls them.

What is not in the table cannot be called. Nothing here knows of HTTP,
Twisted or a terminal: the daemon, its API and dronectl all read it.
"""
