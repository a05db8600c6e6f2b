"""Parts of Twisted that import OpenSSL where they can, whether or not TLS is spoken: imported without it.

OpenSSL takes 8 MB and a tenth of a second. What does speak TLS imports it itself.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType


def import_plain(name: str) -> ModuleType:
    """The module of that name; without OpenSSL, unless that or the module is there already."""
    if name in sys.modules or "OpenSSL" in sys.modules:
        return import_module(name)
    sys.modules["OpenSSL"] = None  # type: ignore[assignment]  # what makes an import fail
    try:
        return import_module(name)
    finally:
        del sys.modules["OpenSSL"]
