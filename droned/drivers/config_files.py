"""Reads configuration files from the disk; what they mean is decided by `droned.config`.

Blocking, so it is called in a pool. Whoever can write a configuration can run
any command as droned's user. So when that user is root, nothing is read that
anybody else could have written: neither a file of somebody else, nor what
lies in a folder that others can write to, nor what a link leads to there.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from typing import TypeVar

from droned.config.loader import MOST_BYTES
from droned.config.nodes import printable
from droned.errors import ConfigurationError

MAIN_FILE = "droned.yaml"
FRAGMENTS = "droned.d"
SUFFIX = ".yaml"
MOST_FILES = 1000
MOST_BYTES_IN_ALL = 16 * MOST_BYTES
MOST_LINKS = 16

T = TypeVar("T")

ROOT = 0
NOT_FOR_OTHERS = stat.S_IWGRP | stat.S_IWOTH


class Untrusted(OSError):
    """Somebody other than root could have written it, or it is nothing that can be read."""


def read_sources(path: str, *, uid: int) -> list[tuple[str, bytes]]:
    """The configuration's files in the order of their layers, each with its path and its bytes.

    `path` is a file or a folder: of that `droned.yaml` and then the `*.yaml` of
    `droned.d` in the order of their names or, without a `droned.yaml`, all its
    `*.yaml`. Hidden files are left out. `uid` is the user that droned runs as.
    Raises ConfigurationError with everything that cannot be read.
    """
    problems: list[str] = []
    sources: list[tuple[str, bytes]] = []
    size = 0
    for file in _attempt(_files, path, uid, problems) or []:
        content = _attempt(_content, file, uid, problems)
        if content is None:
            continue
        size += len(content)
        if size > MOST_BYTES_IN_ALL:
            problems.append(
                f"{file}: cannot read more than {MOST_BYTES_IN_ALL} bytes of configuration in all"
            )
            break
        sources.append((file, content))
    if problems:
        raise ConfigurationError(f"cannot use the configuration: {problems[0]}", tuple(problems))
    return sources


def _attempt(read: Callable[[str, int], T], path: str, uid: int, problems: list[str]) -> T | None:
    """What `read` gives for `path`; None when the problem has been noted."""
    try:
        return read(path, uid)
    except OSError as fault:
        problems.append(printable(f"{path}: cannot read it: {fault.strerror or fault}"))
        return None


def _files(path: str, uid: int) -> list[str]:
    """The files that `path` stands for."""
    if not os.path.isdir(path):
        return [path]
    main = os.path.join(path, MAIN_FILE)
    if not os.path.lexists(main):
        if files := _yaml_files(path, uid):
            return files
        raise Untrusted(f"there is no {MAIN_FILE} and no other *{SUFFIX} in this folder")
    fragments = os.path.join(path, FRAGMENTS)
    return [main, *(_yaml_files(fragments, uid) if os.path.isdir(fragments) else [])]


def _yaml_files(folder: str, uid: int) -> list[str]:
    """All YAML files of a folder, in the order of their names."""
    _trust_folder(os.path.realpath(folder), uid, has_any_name=True)
    names = sorted(name for name in os.listdir(folder) if name.endswith(SUFFIX) and not name.startswith("."))
    if len(names) > MOST_FILES:
        raise Untrusted(f"its {len(names)} files are more than {MOST_FILES}")
    return [os.path.join(folder, name) for name in names]


def _content(file: str, uid: int) -> bytes:
    """The bytes of one file; one byte more than is allowed when there are more, for the loader to refuse."""
    real = _real(file, uid)
    # Not blocking: somebody may have put a pipe there, and opening that would wait for a writer.
    descriptor = os.open(real, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NOCTTY)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise Untrusted("it is not a regular file")
        if uid == ROOT:
            _trust(found, "it")
        with open(descriptor, "rb", closefd=False) as stream:
            return stream.read(MOST_BYTES + 1)
    finally:
        os.close(descriptor)


def _real(file: str, uid: int) -> str:
    """Where the links end that `file` begins; every folder on the way is one that root can trust."""
    for _ in range(MOST_LINKS):
        folder = os.path.realpath(os.path.dirname(file) or ".")
        _trust_folder(folder, uid, has_any_name=False)
        file = os.path.join(folder, os.path.basename(file))
        if not os.path.islink(file):
            return file
        file = os.path.join(folder, os.readlink(file))
    raise Untrusted(f"more than {MOST_LINKS} links lead from one to the next")


def _trust_folder(folder: str, uid: int, *, has_any_name: bool) -> None:
    """Refuse a folder that others can put files into; `has_any_name`: all of its files are read.

    In a sticky folder (`/tmp`) others cannot replace what is root's, so a file
    that is asked for by its name is as safe as itself.
    """
    if uid != ROOT:
        return
    found = os.stat(folder)
    is_sticky = bool(found.st_mode & stat.S_ISVTX) and found.st_uid == ROOT
    if has_any_name or not is_sticky:
        _trust(found, f"the folder {folder}")


def _trust(found: os.stat_result, what: str) -> None:
    """Refuse what is not root's alone to write. Raises Untrusted, which names the way out."""
    if found.st_uid != ROOT:
        raise Untrusted(f"{what} belongs to user {found.st_uid}, and droned runs as root: chown root")
    if found.st_mode & NOT_FOR_OTHERS:
        mode = stat.S_IMODE(found.st_mode)
        raise Untrusted(f"others can write to {what} (mode {mode:04o}), and droned runs as root: chmod go-w")
