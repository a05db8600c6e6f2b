"""Where the output of instances goes, captured or direct, and what is known of it without a reader.

Captured output lies in a folder an instance, which `droned-logs` alone writes
to; the last lines of a run that failed stand there in a small file of their
own. Direct output goes to one file a stream, which every run appends to: so
that nobody takes the words of an earlier run for those of a later one, what
was in each file when a run began is noted. These notes are of this life of
the daemon.
"""

from __future__ import annotations

import json
import os
import stat
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

from droned.logs.format import last_name, link_name, segment_named
from droned.models.policy import LogPolicy, StderrTo
from droned.models.registry import Commit

APART = ("stdout", "stderr")
MERGED = "output"
RUNS_KEPT = 4
"""Runs of an instance of which it is known; so many restarts can follow a command while it is reported."""
LAST_LINES_BYTES = 256 * 1024
"""More than this of a run's last lines is not read."""

LastLine = Mapping[str, str]
"""`stream` and `line`."""


@lru_cache(maxsize=1024)
def policy_text(policy: LogPolicy) -> str:
    """The policy as the JSON text that `droned-logs` takes."""
    return json.dumps(
        {
            "format": policy.format,
            "max_size": policy.max_size_bytes,
            "keep": policy.keep,
            "max_age_s": policy.max_age_s,
            "compress": policy.compress,
            "when_full": policy.when_full,
        },
        separators=(",", ":"),
    )


class OutputFiles:
    """All of one state folder."""

    def __init__(self, state_dir: str) -> None:
        self.folder = f"{state_dir}/logs"
        self._made: set[str] = set()
        self._begins: dict[str, deque[tuple[int, int | None, int | None]]] = {}

    def order(self, instance: str, policy: LogPolicy) -> dict[str, str]:
        """The part of a launch that is about output: names of streams and their policy, or paths."""
        if policy.direct:
            return dict(zip(APART, self._direct(instance, policy), strict=True))
        stdout, stderr = (MERGED, MERGED) if policy.stderr is StderrTo.MERGED else APART
        return {"stdout": stdout, "stderr": stderr, "logs": policy_text(policy)}

    def paths(self, instance: str, policy: LogPolicy) -> dict[str, str]:
        """Where the newest output of the instance `app/label` is found, by stream."""
        streams = (MERGED,) if policy.stderr is StderrTo.MERGED else APART
        if policy.direct:
            return dict(zip(streams, self._direct(instance, policy), strict=False))
        return {stream: f"{self.folder}/{instance}/{link_name(stream)}" for stream in streams}

    def _direct(self, instance: str, policy: LogPolicy) -> tuple[str, str]:
        """The files of stdout and stderr."""
        names = (MERGED, MERGED) if policy.stderr is StderrTo.MERGED else APART
        stdout, stderr = (f"{self.folder}/{instance}.{name}.log" for name in names)
        return stdout, stderr

    def prepare(self, app: str) -> None:
        """Have the folder of the app's direct output. Raises OSError when it cannot be made."""
        if app not in self._made:
            os.makedirs(f"{self.folder}/{app}", mode=0o755, exist_ok=True)
            self._made.add(app)

    def note(self, instance: str, run: int, sizes: Sequence[int] | None) -> None:
        """A run began when its direct files had these sizes; None for one that never wrote a word."""
        known = self._begins.setdefault(instance, deque(maxlen=RUNS_KEPT))
        if not known or known[-1][0] < run:  # what is told twice is of one run
            known.append((run, *(sizes or (None, None))))

    def begins(self, instance: str) -> list[dict[str, int | None]]:
        """`run`, and the offset of its output in the direct file of each stream: the last runs, oldest first.

        The offsets of a run that never wrote a word are None.
        """
        return [
            {"run": run, **dict(zip(APART, sizes, strict=True))}
            for run, *sizes in self._begins.get(instance, ())
        ]

    def last_lines(self, instance: str, runs: Iterable[int]) -> dict[int, list[LastLine]]:
        """The last lines of those of these runs that failed and of which they are kept.

        Reads small files: for a thread.
        """
        found = {run: _last_lines(f"{self.folder}/{instance}/{last_name(run)}") for run in runs}
        return {run: lines for run, lines in found.items() if lines is not None}

    def kept(self) -> tuple[str, ...]:
        """The instances, those of no configuration too, of which there is captured output.

        Looks into many folders: for a thread.
        """
        return tuple(
            f"{app}/{label}"
            for app in _folders(self.folder)
            for label in _folders(f"{self.folder}/{app}")
            if _has_segment(f"{self.folder}/{app}/{label}")
        )

    def follow(self, commit: Commit) -> None:
        """Forget the instances that are gone."""
        for change in commit.changes:
            if change.kind == "instance" and change.after is None:
                self._begins.pop(change.key, None)


def _folders(path: str) -> list[str]:
    try:
        with os.scandir(path) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
    except OSError:
        return []


def _has_segment(path: str) -> bool:
    try:
        with os.scandir(path) as entries:
            return any(segment_named(entry.name) is not None for entry in entries)
    except OSError:
        return False


def _last_lines(path: str) -> list[LastLine] | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        lines = json.loads(os.read(descriptor, LAST_LINES_BYTES))["lines"]
        return [{"stream": str(each["stream"]), "line": str(each["line"])} for each in lines]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    finally:
        os.close(descriptor)
