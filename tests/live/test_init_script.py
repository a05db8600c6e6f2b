"""`etc/droned.init` on the places of root's droned, in a mount namespace where these are empty folders."""

import os
import shlex
import signal
import subprocess
from pathlib import Path

import pytest

from tests.running import IS_ROOT, ROOT, environment, in_tree, keeping_orphans, until

pytestmark = pytest.mark.live

SCRIPT = r"""
set -u
for folder in /run /usr/local/bin /etc/default /var/lib; do
    mkdir -p "$folder" && mount -t tmpfs none "$folder" || exit 99
done
init() { "$ROOT/etc/droned.init" "$@"; echo "$1 $?"; }
program() { printf '#!/bin/sh\nexec %s "$@"\n' "$2" >"/usr/local/bin/$1" && chmod 755 "/usr/local/bin/$1"; }
program droned "$DRONED"
program dronectl "$DRONECTL"
echo "OPTIONS='-c $CONFIG'" >/etc/default/droned

init status
init start
init start
init status | tail -n 1
dronectl status --no-headers | head -n 1
first=$(cat /run/droned.pid)
init restart
init reload
echo same guardian: $(($(cat /run/droned.pid) == first))
init stop >/dev/null
echo 1 >/run/droned.pid
init status
init frobnicate 2>/dev/null
"""


@pytest.mark.skipif(not IS_ROOT, reason="mounts")
def test_the_init_script_starts_tells_and_stops(tmp_path: Path) -> None:
    config = tmp_path / "droned.yaml"
    config.write_text("version: 1\napps: {pause: {command: [sleep, '1000'], start: {grace: 100ms}}}\n")
    names = {
        "ROOT": str(ROOT),
        "CONFIG": str(config),
        "DRONED": shlex.join(in_tree("droned")),
        "DRONECTL": shlex.join(in_tree("dronectl")),
    }
    with keeping_orphans() as left:
        told = subprocess.run(
            ["unshare", "--mount", "sh", "-c", SCRIPT],
            env=environment(names),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        try:
            until(lambda: not left(), 10, what=f"nothing is left: {told}")
        finally:
            for pid in left():
                os.kill(pid, signal.SIGKILL)
    lines = told.stdout.splitlines()
    assert lines[:5] == ["droned is not running", "status 3", "start 0", "start 0", "status 0"], told
    assert lines[5].split()[:2] == ["pause/0", "running"] or lines[5].split()[:2] == ["pause/0", "starting"]
    assert lines[6:] == [
        *("restart 0", "nothing changed", "reload 0", "same guardian: 1"),
        *("droned is dead, and /run/droned.pid is left", "status 1", "frobnicate 2"),
    ], told
