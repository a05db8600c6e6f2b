"""Each reactor keeps programs running; select() is refused where it could not."""

import os
import signal

import pytest

from tests.running import Droned, until

pytestmark = pytest.mark.live

APPS = """\
version: 1
defaults: {start: {grace: 100ms}, restart: {policy: always, delay: 0s}}
apps:
  web: {command: [sleep, "1000"], instances: 3}
"""


@pytest.mark.parametrize("reactor", ["epoll", "poll", "select", "asyncio"])
def test_a_reactor_starts_restarts_reloads_and_stops(droned: Droned, reactor: str) -> None:
    droned.configure(APPS)
    droned.start("--reactor", reactor)
    before = droned.until_state("running", of=("web/0", "web/1", "web/2"))
    os.kill(before["web/1"]["pid"], signal.SIGKILL)
    until(lambda: droned.rows()["web/1"]["pid"] not in (None, before["web/1"]["pid"]), what="web/1 is back")
    daemon = droned.daemon_pid
    os.kill(daemon, signal.SIGKILL)
    droned.in_control(other_than=daemon)
    assert droned.rows()["web/0"]["pid"] == before["web/0"]["pid"]
    droned.configure(APPS.replace("instances: 3", "instances: 1"))
    droned.reload()
    until(lambda: set(droned.rows()) == {"web/0"}, what="two are gone")
    assert droned.stop() == 0
    assert "Traceback" not in droned.log()


def test_more_instances_than_select_can_watch_are_refused_in_one_line(droned: Droned) -> None:
    many = APPS.replace("instances: 3", "instances: 801")
    droned.configure(many)
    process = droned.start("--reactor", "select", wait=False)
    assert process.wait(30) == 78
    assert droned.log() == (
        "droned: cannot use the configuration: 801 instances are more than the 800 of --reactor select; "
        "use epoll, poll or asyncio\n"
    )
    droned.configure(APPS)
    droned.start("--reactor", "select")
    before = droned.until_state("running", of=("web/0", "web/1", "web/2"))
    droned.configure(many)
    told = droned.ctl("daemon", "reload")
    assert (told.returncode, told.stdout) == (1, "")
    told = droned.ctl("scale", "web=801")
    assert (told.returncode, told.stdout) == (2, "")
    assert "801 instances" in told.stderr
    assert {key: row["pid"] for key, row in droned.rows().items()} == {
        key: row["pid"] for key, row in before.items()
    }
