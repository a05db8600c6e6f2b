"""The in-memory model layer: what droned knows, and nothing of how it comes to know it.

Values are frozen; the one thing that changes is the registry, and only by
`Registry.commit` on the reactor thread.
"""
