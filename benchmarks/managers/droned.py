"""droned of this checkout, as a user starts it."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Sequence
from typing import Any

from benchmarks.managers.base import Manager, Question
from tests.faults import processes, programs
from tests.faults.api import Api, Refused, Unanswered

TAG_VARIABLE = "DRONED_BENCH_TAG"


class Droned(Manager):
    """Guardian and daemon; the state stands on the disk of the folder for temporary files."""

    name = "droned"

    def command(self) -> Sequence[str]:
        """`droned run`, restarts at once and without brakes, as the figures say."""
        document: dict[str, Any] = {
            "version": 1,
            "droned": {"start_budget": "off"},
            "apps": {
                "web": {
                    "command": self.child("web/${DRONED_LABEL}"),
                    "instances": self.count,
                    "restart": {"policy": "always", "delay": "0s", "limit": "never"},
                }
            },
        }
        configuration = self.folder / "droned.yaml"
        configuration.write_text(json.dumps(document))
        state = self.folder / "state"
        droned = str(programs.ROOT / "bin" / "droned")
        return [droned, "run", "-c", str(configuration), "--state", str(state), "--socket", str(self.socket)]

    def environment(self) -> dict[str, str]:
        """The tag by which its own processes are known."""
        return {**os.environ, TAG_VARIABLE: self.tag}

    @property
    def api(self) -> Api:
        """Its API."""
        return Api(socket=str(self.socket))

    def own_pids(self) -> tuple[int, ...]:
        """Guardian and daemon."""
        deadline = time.monotonic() + 20.0
        while True:
            try:
                status = self.api.daemon()
                return (int(status["guardian_pid"]), int(status["pid"]))
            except (Unanswered, Refused):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def question(self) -> Question:
        """All instances as JSON."""
        request = b"GET /api/v1/instances HTTP/1.1\r\nHost: droned\r\n\r\n"
        return Question(socket=self.socket, request=request, kind="http", mark='"instance":')

    def client_command(self) -> Sequence[str]:
        """`dronectl status`."""
        return [str(programs.ROOT / "bin" / "dronectl"), "status"]

    def client_environment(self) -> dict[str, str]:
        """Where dronectl finds this droned."""
        return {**os.environ, "DRONED_HOST": f"unix://{self.socket}"}

    def is_own(self, pid: int) -> bool:
        """Whether a process is guardian or daemon of this life."""
        return processes.environment_has(pid, f"{TAG_VARIABLE}={self.tag}")

    def close(self) -> None:
        """Kill guardian and daemon before their programs."""
        for _ in range(10):
            left = [pid for pid in processes.pids() if self.is_own(pid) and processes.is_alive(pid)]
            for pid in left:
                processes.send(pid, signal.SIGKILL, self.is_own)
            if not left:
                break
            time.sleep(0.05)
        self.end_all()
        processes.remove_cgroups(self.folder / "state")
        super().close()
