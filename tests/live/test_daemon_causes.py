"""Everything that happens to an instance leads back to who or what caused it."""

import os
import signal
from functools import partial
from typing import Any

import pytest

from tests.running import OURSELVES, Droned, until

pytestmark = pytest.mark.live

APPS = """\
version: 1
defaults: {start: {grace: 100ms}, restart: {policy: always}}
apps:
  web: {command: [sleep, "1000"]}
  hand: {command: [sleep, "1000"]}
"""


def chain(droned: Droned, instance: str) -> list[dict[str, Any]]:
    """What `why` answers: the events that made the instance what it is, the latest first."""
    found: list[dict[str, Any]] = droned.api.get(f"/instances/{instance}/why")["chain"]
    versions = [each["version"] for each in found]
    assert versions == sorted(versions, reverse=True)
    return found


def test_a_crash_a_command_and_a_configuration_are_each_the_root_of_what_follows(droned: Droned) -> None:
    droned.configure(APPS)
    droned.start()
    before = droned.until_state("running")

    def again(instance: str) -> dict[str, Any] | None:
        row = droned.rows()[instance]
        return row if row["state"] == "running" and row["pid"] != before[instance]["pid"] else None

    os.kill(before["web/0"]["pid"], signal.SIGKILL)
    until(lambda: again("web/0"), what="web/0 is back")
    crashed = chain(droned, "web/0")
    (crash,) = [each for each in crashed if each["type"] == "instance-crashed"]
    assert crash["text"].startswith("killed by KILL")
    assert {each["actor"] for each in crashed} == {"droned"}
    assert "killed by KILL" in droned.done("why", "web/0")

    droned.done("restart", "hand", "--reason", "it looked tired")
    (command,) = [each for each in chain(droned, "hand/0") if each["type"] == "command-accepted"]
    assert (command["actor"], command["data"]["reason"]) == (OURSELVES, "it looked tired")
    assert "it looked tired" in droned.done("why", "hand/0")

    before = droned.rows()
    droned.configure(APPS.replace("1000", "2000"))
    droned.done("daemon", "reload", "--reason", "a longer sleep")
    for instance in before:
        until(partial(again, instance), what=f"{instance} runs what is configured now")
        told = chain(droned, instance)
        (loaded,) = [each for each in told if each["type"] == "configuration-loaded"]
        (command,) = [each for each in droned.api.events() if each["version"] == loaded["cause"]]
        assert loaded["actor"] == command["actor"] == OURSELVES
        assert (command["type"], command["data"]["reason"]) == ("command-accepted", "a longer sleep")
