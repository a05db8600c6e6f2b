"""droned's own log in a real daemon: as JSON, by levels, and to files that droned-logs captures."""

import json
import os
import signal
from typing import Any

import pytest

from tests.running import Droned, until

pytestmark = pytest.mark.live

APPS = """\
version: 1
defaults: {start: {grace: 100ms}}
apps:
  web: {command: [sleep, "1000"]}
"""


def configured(droned: Droned, log: str) -> None:
    droned.configure(f"{APPS}droned: {{log: {log}}}\n")


def of_daemon(text: str) -> list[str]:
    """Its lines without those of the guardian and of droned-logs."""
    return [line for line in text.splitlines() if " guardian[" not in line and " logs[" not in line]


def captured(droned: Droned) -> list[dict[str, Any]]:
    """What `dronectl logs` has of it; fails where a line is no JSON."""
    told = droned.done("logs", "droned/log", "-n", "all", "-o", "jsonl")
    return [json.loads(json.loads(line)["line"]) for line in told.splitlines() if "line" in json.loads(line)]


def test_a_log_of_json_is_that_from_its_first_line_to_its_last(droned: Droned) -> None:
    configured(droned, "{format: json}")
    droned.start()
    droned.until_state("running")
    before = droned.daemon_pid
    os.kill(before, signal.SIGKILL)
    droned.in_control(other_than=before)
    droned.done("restart", "web", "--reason", 'an "odd" \\reason')
    droned.until_state("running")
    assert droned.stop() == 0
    told = [json.loads(line) for line in of_daemon(droned.log())]
    assert {each["level"] for each in told} == {"info"}
    assert [each["text"] for each in told if each.get("type") == "server-started"] == [
        "droned 0.1.0 is in control",
        "droned 0.1.0 is in control",
    ]
    assert any('an "odd"' in each["text"] for each in told)


def test_levels_hold_from_the_reload_on(droned: Droned) -> None:
    configured(droned, "{level: error}")
    droned.start()
    droned.until_state("running")
    assert of_daemon(droned.log()) == []
    configured(droned, "{level: error, levels: {supervision: info}}")
    droned.done("daemon", "reload")
    droned.done("restart", "web")
    until(lambda: "web/0: running" in droned.log(), what="an event")
    assert "api: running" not in droned.log()
    configured(droned, "{levels: {supervison: info}}")
    refused = droned.ctl("daemon", "reload")
    assert refused.returncode == 1
    assert 'did you mean "supervision"?' in refused.stderr


def test_a_log_to_files_is_captured_through_kills_of_everything(droned: Droned) -> None:
    configured(droned, "{to: file, format: json}")
    droned.start()
    droned.until_state("running")
    until(lambda: any(each["text"] == "running" for each in captured(droned)), what="its first lines")
    until(lambda: droned.api.daemon()["logs_pid"], what="droned-logs")
    # What is written once droned-logs has the pipe is nowhere else.
    droned.done("restart", "web", "--reason", "taken")
    until(lambda: any("taken" in each["text"] for each in captured(droned)), what="the line")
    assert "taken" not in droned.log()
    for number in range(3):
        logs, daemon = droned.api.daemon()["logs_pid"], droned.daemon_pid
        if number == 2:
            os.kill(daemon, signal.SIGKILL)
            droned.in_control(other_than=daemon)
            until(lambda: "droned-logs is pid" in str(droned.api.daemon()["services"]), what="reached again")
        else:
            os.kill(logs, signal.SIGKILL)
        droned.done("restart", "web", "--reason", f"number {number}")
        until(
            lambda number=number: any(f"number {number}" in each["text"] for each in captured(droned)),  # type: ignore[misc]  # a lambda with a default
            what=f"the line of restart {number}",
        )
    happened = {(each["version"], each["text"]) for each in droned.api.events()}
    until(
        lambda: happened <= {(each.get("version"), each["text"]) for each in captured(droned)},
        what="every event of the journal",
    )
    configured(droned, "{}")
    droned.done("daemon", "reload")
    droned.done("restart", "web", "--reason", "back on standard output")
    assert "back on standard output" in droned.log()
    assert not any("back on standard" in each["text"] for each in captured(droned))
