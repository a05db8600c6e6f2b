"""The program that the guardian starts and starts again: the daemon itself.

Executed by its path under `python -I`, so it finds the package it belongs to
by where it stands: a daemon is always of the release that its file is of.
"""

import gc
import os.path
import sys

gc.disable()  # until the start is over: `droned.drivers.memory.settle`
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from droned.daemon.main import daemon_main  # noqa: E402  # only now can the package be found

sys.exit(daemon_main(sys.argv[1:]))
