"""Keeping the daemon small: what a start allocates and frees again goes back to the system.

Detected: a C library without these calls simply keeps what it has.
"""

from __future__ import annotations

import ctypes
import gc

M_ARENA_MAX = -8
"""mallopt's number for the count of heaps that threads share, in glibc's malloc.h."""


def use_one_heap() -> None:
    """Let all threads share one heap; before any thread is started."""
    try:
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, 1)
    except (OSError, AttributeError):
        return


def settle() -> None:
    """Give freed memory back, and keep what is left out of every later collection.

    Collections begin here: what a start makes is kept, and looking through it
    costs time for nothing. It is not looked through even now: that took 36 ms
    with a thousand instances, and found next to nothing. To be called once,
    when the start is over.
    """
    gc.freeze()
    gc.enable()
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (OSError, AttributeError):
        return
