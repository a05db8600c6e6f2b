"""What was acknowledged is remembered: through kills of everything, an ordered end and a reboot."""

import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.faults import processes
from tests.running import IS_ROOT, Droned, environment, in_tree, until

pytestmark = pytest.mark.live

APPS = """\
version: 1
defaults: {start: {grace: 100ms}}
apps:
  web: {command: [sleep, "1000"], instances: 3}
  few: {command: [sleep, "1000"], instances: 3}
  bad:
    command: [sh, -c, "exit 3"]
    restart: {delay: 40s, max_delay: 300s, jitter: 0, limit: never, reset_after: 30s}
"""


def killed(droned: Droned) -> None:
    """Guardian and daemon together, as at a moment when neither can help the other."""
    assert droned.process is not None
    both = (droned.guardian_pid, droned.daemon_pid)
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for pid in both:
            os.kill(pid, number)
    droned.process.wait()
    until(lambda: not any(map(processes.is_alive, both)), what="both are dead")


def facts(droned: Droned) -> dict[str, tuple[Any, ...]]:
    names = ("wanted", "enabled", "state", "pid", "run", "restarts", "next_start_at")
    return {key: tuple(row[name] for name in names) for key, row in droned.rows().items()}


@pytest.fixture
def ordered(droned: Droned) -> Droned:
    """A droned that was told all that it must not forget."""
    droned.configure(APPS)
    droned.start()
    droned.until_state("running", of=("web/0", "web/1", "web/2", "few/2"))
    droned.until_state("backoff", of=("bad/0",))
    droned.done("stop", "web/0")
    droned.done("disable", "web/1")
    droned.done("scale", "few=1")
    return droned


def test_what_was_told_survives_a_kill_of_guardian_and_daemon_together(ordered: Droned) -> None:
    before = facts(ordered)
    killed(ordered)
    ordered.start()
    assert facts(ordered) == before
    # The enabled one is brought back, the disabled one is not, and what is stopped stays so.
    for key in ("web/1", "web/2"):
        os.kill(before[key][3], signal.SIGKILL)
    ordered.until_state("running", of=("web/2",))
    until(lambda: ordered.rows()["web/2"]["pid"] not in (None, before["web/2"][3]), what="web/2 is back")
    # The tests do not reap what is left to them, and until then only root is told how a process ended.
    ordered.until_state("exited", *(() if IS_ROOT else ("unknown",)), of=("web/1",))
    assert ordered.rows()["web/1"]["wanted"] == "up"
    told = ordered.rows()["web/2"]["exit"]["signal"]
    assert told == signal.SIGKILL or (told is None and not IS_ROOT)


def test_an_end_and_a_start_in_order_bring_up_what_was_wanted(ordered: Droned) -> None:
    before = facts(ordered)
    assert ordered.stop() == 0
    ordered.start()
    rows = ordered.until_state("running", of=("web/2", "few/0"))
    assert {key: row["wanted"] for key, row in rows.items()} == {key: each[0] for key, each in before.items()}
    assert set(rows) == set(before)
    # Stopped stays stopped; what is disabled is not begun by droned itself.
    assert rows["web/0"]["state"] == rows["web/1"]["state"] == "stopped"
    ordered.done("start", "web/1")


def booted(droned: Droned, boot_id: Path) -> None:
    """Start droned where the kernel tells this boot id."""
    places = ("-c", str(droned.config_path), "--state", str(droned.state_dir), "--socket", str(droned.socket))
    script = f'mount --bind {boot_id} /proc/sys/kernel/random/boot_id && exec "$@"'
    private = ["unshare", "-m", "--propagation", "private", "sh", "-c", script, "sh"]
    with droned.log_path.open("ab") as log:
        droned.process = subprocess.Popen(
            [*private, *in_tree("droned"), "run", *places],
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    droned.in_control()


@pytest.mark.skipif(not IS_ROOT, reason="mounts")
def test_after_a_reboot_what_was_wanted_comes_up_and_the_rest_stays_down(ordered: Droned) -> None:
    """The power goes: all are dead at once. Then another boot, with pids that others may have had."""
    before = facts(ordered)
    living = [each[3] for each in before.values() if each[3] is not None]
    killed(ordered)
    for pid in living:
        os.kill(pid, signal.SIGKILL)
    until(lambda: not any(map(processes.is_alive, living)), what="all are dead")
    boot_id = ordered.folder / "boot_id"
    boot_id.write_text("00000000-aaaa-bbbb-cccc-000000000000\n")
    booted(ordered, boot_id)
    assert ordered.api.daemon()["boot_id"] == boot_id.read_text().strip()
    rows = ordered.until_state("running", of=("web/2", "few/0"))
    assert set(rows) == set(before)
    assert (rows["web/0"]["state"], rows["web/0"]["wanted"]) == ("stopped", "down")
    assert rows["web/2"]["run"] == before["web/2"][4] + 1
    assert (rows["web/1"]["enabled"], rows["web/1"]["wanted"], rows["web/1"]["state"]) == (
        False,
        "up",
        "stopped",
    )
    assert rows["web/1"]["exit"]["reason"] == "the host was restarted"
    # It died before the power went: its next start is when it was to be.
    assert rows["bad/0"]["next_start_at"] == before["bad/0"][6]
    assert rows["bad/0"]["run"] == before["bad/0"][4]
