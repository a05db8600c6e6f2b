"""The two yardsticks of our own: bare Twisted, and the least in C."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.managers.base import Manager, Question
from tests.faults import programs

HERE = Path(__file__).resolve().parents[1]


class _Yardstick(Manager):
    """A program of ours that takes its whole task as arguments."""

    def yardstick(self) -> Sequence[str]:
        """The yardstick's own command line."""
        raise NotImplementedError

    def command(self) -> Sequence[str]:
        """The yardstick with socket, number and program."""
        (app,) = self.apps
        path, mark, stamps, mode = self.program(app, app.name)
        name, _, tag = mark.partition("@")
        return [*self.yardstick(), str(self.socket), str(self.count), path, name, tag, stamps, mode]

    def question(self) -> Question:
        """A line in, all programs as text out."""
        return Question(socket=self.socket, request=b"status\n", kind="text", mark=" running ")


class BareTwisted(_Yardstick):
    """posix_spawn and pidfd readers on the Twisted reactor, no policy: yardstick.py."""

    name = "bare Twisted"

    def yardstick(self) -> Sequence[str]:
        """The yardstick under the interpreter of the benchmarks."""
        return [sys.executable, str(HERE / "yardstick.py")]


class Limit(_Yardstick):
    """posix_spawn, pidfd and epoll in C, no policy: limit.c."""

    name = "C limit"

    def yardstick(self) -> Sequence[str]:
        """The compiled yardstick."""
        return [str(programs.compiled(HERE / "limit.c"))]
