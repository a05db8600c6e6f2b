"""The HTTP API: what it answers, how it streams, and the limits it puts on who asks.

Nothing here decides anything: resources read the registry's records and hand
changing commands to the dispatcher.
"""
