"""Whether what a start missed is there now: blocking look-ups, to be run in a pool."""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Mapping
from typing import Any


def is_startable(launch: Mapping[str, Any]) -> bool:
    """Whether user, groups, folder and program of a guardian's launch all exist on this host.

    Says only that a start is worth a try: what it really takes, the start
    itself finds out.
    """
    try:
        if isinstance(launch["user"], str) and not launch["user"].isdecimal():
            pwd.getpwnam(launch["user"])
        for group in (launch["group"], *(launch["groups"] or ())):
            if isinstance(group, str) and not group.isdecimal():
                grp.getgrnam(group)
    except KeyError:
        return False
    directory = launch["directory"]
    if directory is not None and not os.path.isdir(directory):
        return False
    return is_program(launch["argv"][0], launch["env"].get("PATH", os.defpath), directory or "/")


def is_program(name: str, path: str, directory: str) -> bool:
    """Whether `name` is an executable file, looked up in `path` when it has no slash."""
    folders = [directory] if "/" in name else path.split(":")
    for folder in folders:
        candidate = os.path.join(directory, folder, name)
        if os.path.isfile(candidate) and os.access(candidate, os.X_OK):
            return True
    return False
