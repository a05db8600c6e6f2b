"""Service plugins that fail in a real daemon: each is shown failed, with an issue, and the rest runs."""

import pytest

from tests.running import Droned

pytestmark = pytest.mark.live

APPS = """\
version: 1
defaults: {start: {grace: 100ms}}
apps:
  web: {command: [sleep, "1000"]}
"""
BROKEN = {
    "check": "failed in check: RuntimeError: broken in check",
    "settings": "its settings are wrong",
    "make": "failed in make: RuntimeError: broken in make",
    "start": "failed in start: RuntimeError: broken in start",
    "start-later": "failed in start: RuntimeError: broken in start, later",
    "mendable": "cannot run without {mended}",
    "needs-start": "it needs start, which does not run",
}
RUNNING = {"journal", "supervision", "logs", "api", "forward", "stall-watch", "stop", "sound", "needs-sound"}


def services(droned: Droned) -> dict[str, tuple[str, str]]:
    return {each["name"]: (each["state"], each["note"]) for each in droned.api.daemon()["services"]}


def test_a_service_that_fails_in_any_phase_is_shown_and_the_rest_runs(droned: Droned) -> None:
    mended = droned.folder / "mended"
    broken = {name: ("failed", note.format(mended=mended)) for name, note in BROKEN.items()}
    droned.configure(APPS)
    droned.start_over("plugged_daemon.py", str(mended))
    before = droned.until_state("running")["web/0"]["pid"]
    shown = services(droned)
    assert {name: each for name, each in shown.items() if name not in RUNNING} == broken
    assert {shown[name][0] for name in RUNNING} == {"running"}
    issues = {each["subject"]: each for each in droned.api.get("/issues")["issues"]}
    assert set(issues) == set(broken)
    assert {each["kind"] for each in issues.values()} == {"service-failed"}
    told = droned.done("daemon", "status")
    for name, (_, note) in broken.items():
        assert note in issues[name]["text"]
        assert note in told
    # What was wrong is mended: a reload tries again, and the issue is closed.
    mended.touch()
    droned.done("daemon", "reload")
    broken.pop("mendable")
    shown = services(droned)
    assert {name for name, (state, _) in shown.items() if state == "failed"} == set(broken)
    assert {each["subject"] for each in droned.api.get("/issues")["issues"]} == set(broken)
    # One that fails in its stop keeps nobody from going, and no app notices.
    droned.done("daemon", "restart")
    assert droned.rows()["web/0"]["pid"] == before
    assert {each["subject"] for each in droned.api.get("/issues")["issues"]} == set(broken)
    assert droned.stop() == 0
