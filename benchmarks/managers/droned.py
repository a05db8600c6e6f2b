"""droned of this checkout, as a user starts it."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.managers.base import Failed, Manager, Question
from tests.faults import captured, processes, programs
from tests.faults.api import Api, Refused, Unanswered

TAG_VARIABLE = "DRONED_BENCH_TAG"


class Droned(Manager):
    """Guardian, daemon and `droned-logs`; the state stands on the disk of the folder for temporary files."""

    name = "droned"

    def command(self) -> Sequence[str]:
        """`droned run`, restarts at once and without brakes, as the figures say."""
        document: dict[str, Any] = {
            "version": 1,
            "droned": {"start_budget": "off", **self.settings},
            "apps": {
                app.name: {
                    "command": self.program(app, app.name + "/${DRONED_LABEL}"),
                    "instances": app.instances,
                    "restart": {"policy": "always", "delay": "0s", "limit": "never"},
                    **app.options,
                }
                for app in self.apps
            },
        }
        configuration = self.folder / "droned.yaml"
        configuration.write_text(json.dumps(document))
        state = str(self.state)
        droned = str(programs.ROOT / "bin" / "droned")
        return [droned, "run", "-c", str(configuration), "--state", state, "--socket", str(self.socket)]

    def environment(self) -> dict[str, str]:
        """The tag by which its own processes are known."""
        return {**os.environ, TAG_VARIABLE: self.tag}

    @property
    def state(self) -> Path:
        """Its state folder."""
        return self.folder / "state"

    @property
    def api(self) -> Api:
        """Its API."""
        return Api(socket=str(self.socket))

    def own_pids(self) -> tuple[int, ...]:
        """Guardian, daemon and `droned-logs`."""
        deadline = time.monotonic() + 20.0
        while True:
            try:
                status = self.api.daemon()
                found = [status["guardian_pid"], status["pid"], status["logs_pid"]]
                if all(found):
                    return tuple(map(int, found))
                if time.monotonic() > deadline:
                    raise Failed(f"guardian, daemon and droned-logs: not all are there: {found}")
            except (Unanswered, Refused):
                if time.monotonic() > deadline:
                    raise
            time.sleep(0.05)

    def starting_pids(self) -> tuple[int, ...]:
        """Guardian and daemon."""
        return self.own_pids()[:2]

    def log_files(self, name: str) -> list[Path]:
        """The segments of the stream."""
        return [segment.path for segment in captured.segments(self.state / "logs", name, "stdout")]

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
        """Whether a process is one of droned's own in this life."""
        return processes.environment_has(pid, f"{TAG_VARIABLE}={self.tag}")

    def close(self) -> None:
        """Kill droned's own processes before their programs."""
        for _ in range(10):
            left = [pid for pid in processes.pids() if self.is_own(pid) and processes.is_alive(pid)]
            for pid in left:
                processes.send(pid, signal.SIGKILL, self.is_own)
            if not left:
                break
            time.sleep(0.05)
        self.end_all()
        processes.remove_cgroups(self.state)
        super().close()
