"""The guardian: the small parent of every app, which nothing of ours takes down.

No code here: the daemon imports `droned.guardian.wire`, `__main__` starts the rest.
"""
