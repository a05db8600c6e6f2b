"""A stop that a daemon died in is gone on with by the next one."""

import pytest

from tests.faults.api import Refused, Unanswered
from tests.running import Droned

pytestmark = pytest.mark.live

APPS = """\
version: 1
defaults: {start: {grace: 100ms}, restart: {policy: always}}
apps:
  web:
    command: [sh, -c, "trap 'exit 7' TERM; while :; do sleep 0.05; done"]
    stop: [{signal: TERM, to: main, for: 5s}, {signal: KILL, to: tree}]
"""


def test_a_stop_that_is_on_disk_is_asked_for_though_its_daemon_died_before_the_signal(droned: Droned) -> None:
    droned.configure(APPS)
    died = droned.folder / "died"
    droned.start_over("dying_daemon.py", str(died))
    droned.until_state("running")
    first = droned.daemon_pid
    with pytest.raises((Unanswered, Refused)):
        droned.api.order("stop", ("web",))
    droned.in_control(other_than=first)
    assert died.exists()
    (row,) = droned.until_state("stopped").values()
    # It was asked to end, and not killed when the time of a signal that nobody sent was over.
    assert (row["exit"]["code"], row["exit"]["signal"], row["run"]) == (7, None, 1)
    assert "a new daemon goes on with the stop" in droned.log()
