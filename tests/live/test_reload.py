"""A changed configuration in a running droned: only what changed is touched, a bad file changes nothing."""

import json
import subprocess
from collections.abc import Mapping
from typing import Any

import pytest

from tests.faults import processes
from tests.faults.api import Api
from tests.running import Droned, environment, in_tree, until

pytestmark = pytest.mark.live

FIRST = """\
version: 1
defaults: {start: {grace: 200ms}}
apps:
  same: {command: [sleep, "1000"]}
  web: {command: [sleep, "1001"], instances: 2}
  gone: {command: [sleep, "1002"]}
"""
CHANGED = """\
version: 1
defaults: {start: {grace: 200ms}}
apps:
  same: {command: [sleep, "1000"]}
  web: {command: [sleep, "2001"], instances: 2}
  renamed: {command: [sleep, "1002"]}
"""
BAD = """\
version: 1
apps:
  same: {command: [sleep, "9"]}
  web: {comand: [sleep, "9"], user: nobody-of-this-name}
"""


@pytest.fixture
def running(droned: Droned) -> Droned:
    droned.configure(FIRST)
    droned.start()
    droned.until_state("running", of=("same/0", "web/0", "web/1", "gone/0"))
    return droned


def pids(droned: Droned) -> dict[str, int]:
    return {key: row["pid"] for key, row in droned.rows().items()}


def issue_kinds(droned: Droned) -> list[str]:
    return [each["kind"] for each in droned.api.get("/issues")["issues"]]


def events_of(droned: Droned, kind: str) -> list[dict[str, Any]]:
    return [each for each in droned.api.events() if each["type"] == kind]


def replaced(droned: Droned, before: Mapping[str, int], *instances: str) -> dict[str, int]:
    """The pids, once these instances run as other processes than before."""

    def there() -> dict[str, int] | None:
        rows = droned.rows()
        new = all(rows[key]["state"] == "running" and rows[key]["pid"] != before[key] for key in instances)
        return {key: row["pid"] for key, row in rows.items()} if new else None

    return until(there, 20.0, what=f"{instances} are replaced")


def test_a_reload_touches_what_changed_one_after_the_other_and_nothing_else(running: Droned) -> None:
    before = pids(running)
    running.configure(CHANGED)
    running.reload()
    after = replaced(running, before, "web/0", "web/1")
    until(lambda: set(running.rows()) == {"same/0", "web/0", "web/1", "renamed/0"}, what="gone/0 is gone")
    running.until_state("running")
    assert after["same/0"] == before["same/0"]
    told = [
        (each["type"], each["subject"])
        for each in running.api.events()
        if each["subject"] in ("web/0", "web/1") and each["type"] in ("instance-stopping", "instance-started")
    ][2:]
    assert told == [
        (kind, web) for web in ("web/0", "web/1") for kind in ("instance-stopping", "instance-started")
    ]
    # The same file once more changes nothing, and says nothing.
    count = len(events_of(running, "configuration-loaded"))
    running.done("daemon", "reload")
    assert pids(running)["web/0"] == after["web/0"]
    assert len(events_of(running, "configuration-loaded")) == count == 2
    # Why web/1 runs as another process leads to the reload and to who asked for it.
    chain = running.done("why", "web/1")
    assert "signal HUP" in chain
    assert "configuration" in chain


def test_a_bad_file_is_refused_whole_and_a_good_one_closes_the_issue(running: Droned) -> None:
    before = pids(running)
    running.configure(BAD)
    running.reload()
    (refused,) = until(lambda: events_of(running, "configuration-refused"), what="the refusal")
    assert refused["actor"] == "signal HUP"
    assert any("droned.yaml:4:9" in each for each in refused["data"]["problems"])
    told = running.ctl("daemon", "reload")
    assert told.returncode == 1
    assert 'unknown key "comand"' in told.stderr
    assert "Traceback" not in told.stderr + running.log()
    assert issue_kinds(running) == ["configuration-refused"]
    assert pids(running) == before
    # A daemon that comes now has only the bad file, and goes on with the last good configuration.
    running.done("daemon", "restart")
    assert pids(running) == before
    assert issue_kinds(running) == ["configuration-refused"]
    running.configure(FIRST)
    running.done("daemon", "reload")
    assert issue_kinds(running) == []
    assert pids(running) == before


def test_what_was_scaled_stays_so_until_the_file_says_another_number(running: Droned) -> None:
    running.done("scale", "web=3", "same=0")
    running.configure(FIRST.replace("1002", "2002"))
    running.done("daemon", "reload")
    running.until_state("running", of=("web/0", "web/1", "web/2", "gone/0"))
    assert set(running.rows()) == {"web/0", "web/1", "web/2", "gone/0"}
    running.configure(FIRST.replace("instances: 2", "instances: 1"))
    running.done("daemon", "reload")
    until(lambda: set(running.rows()) == {"web/0", "gone/0"}, what="one web")
    running.configure(FIRST.replace("instances: 2", "instances: [blue, green]"))
    running.done("daemon", "reload")
    until(lambda: set(running.rows()) == {"web/blue", "web/green", "gone/0"}, what="webs by name")
    assert running.ctl("scale", "web=3").returncode == 2
    running.done("scale", "same=1")


def test_a_stopped_and_a_disabled_instance_stay_so_through_a_reload(running: Droned) -> None:
    running.done("stop", "web/0")
    running.done("disable", "web/1")
    before = pids(running)
    running.configure(CHANGED)
    running.done("daemon", "reload")
    replaced(running, before, "web/1")
    rows = running.rows()
    assert (rows["web/0"]["state"], rows["web/0"]["wanted"]) == ("stopped", "down")
    assert rows["web/1"]["enabled"] is False
    # Started by hand it runs what is configured now.
    running.done("start", "web/0")
    shown = json.loads(running.done("describe", "web/0", "-o", "json"))
    assert "2001" in json.dumps(shown)


def test_reloads_while_others_are_under_way_end_at_the_last_file(running: Droned) -> None:
    for number in range(3001, 3007):
        running.configure(FIRST.replace("1001", str(number)))
        running.reload()
        running.done("daemon", "reload")

    def last() -> bool:
        rows = [running.rows()[key] for key in ("web/0", "web/1")]
        return all("3006" in processes.arguments(row["pid"] or 0) for row in rows)

    until(last, 30.0, what="both run the last configuration")
    running.until_state("running")


def test_a_socket_in_the_file_is_listened_on_and_moves_with_it(droned: Droned) -> None:
    """`--socket` would win over the file; the place beside `--state` does not."""
    named, moved, taken = (droned.folder / name for name in ("named.sock", "moved.sock", "taken.sock"))
    taken.write_text("a file")
    text = FIRST + "droned: {socket: %s}\n"
    droned.configure(text % named)
    droned.socket = named
    droned.api = Api(socket=str(named))
    with droned.log_path.open("ab") as log:
        places = ("-c", str(droned.config_path), "--state", str(droned.state_dir))
        droned.process = subprocess.Popen(
            [*in_tree("droned"), "run", *places],
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    before = droned.in_control()["pid"]
    # One that cannot be had is refused with all that is in the file.
    droned.configure((text % taken).replace("1001", "2001"))
    told = droned.ctl("daemon", "reload")
    assert told.returncode == 1
    assert f"cannot listen on {taken}" in told.stderr
    assert issue_kinds(droned) == ["configuration-refused"]
    droned.configure(text % moved)
    droned.done("daemon", "reload")
    droned.socket = moved
    droned.api = Api(socket=str(moved))
    shown = droned.in_control()
    assert (shown["pid"], shown["socket"]) == (before, str(moved))
    assert not named.exists()
    assert issue_kinds(droned) == []
