"""A long question steps back; a short one does not."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PROGRAM = """
import os, sys, threading, time
sys.path.insert(0, sys.argv[1])
from droned.logs.reader import manners
over = threading.Event()
other = threading.Thread(target=over.wait)
other.start()
manners.begin()
until = float(sys.argv[2])
while time.process_time() < until:
    pass
tasks = os.listdir("/proc/self/task")
print(sorted({os.getpriority(os.PRIO_PROCESS, int(task)) for task in tasks}), os.getsid(0) == os.getpid())
over.set()
"""


@pytest.mark.parametrize(("used_s", "priorities"), [("0.1", "[0]"), ("0.6", "[15]")])
def test_who_uses_the_processor_for_long_steps_back_with_all_threads(used_s: str, priorities: str) -> None:
    command = [sys.executable, "-I", "-S", "-c", PROGRAM, str(ROOT), used_s]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout.split("\n")[0] == f"{priorities} True"
