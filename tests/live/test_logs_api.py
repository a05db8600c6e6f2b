"""`/api/v1/logs` of a real droned: readers and their clients, and what a policy does while its app runs."""

import json
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from droned.services.logs import FOLLOWERS, SEARCHES
from tests.faults import processes
from tests.faults.api import Refused
from tests.running import Droned, until

pytestmark = pytest.mark.live

COUNT = "import time; [(print(n, flush=True), time.sleep(0.005)) for n in range(10**9)]"
FLOOD = "import os\nwhile True: os.write(1, (b'x' * 99 + b'\\n') * 600)"
FLOW = "import os, time\nwhile True: os.write(1, (b'x' * 99 + b'\\n') * 200); time.sleep(0.01)"
SAY = "import os, time; print('said', flush=True); os.write(2, b'oh no\\n'); time.sleep(1000)"
MEMORY_BYTES = 8 * 1024 * 1024
"""More than the daemon may grow by while a client does not read: its buffers are a hundredth of that."""


def python(code: str, **more: Any) -> dict[str, Any]:
    return {"command": [sys.executable, "-c", code], **more}


def started(droned: Droned, **apps: Mapping[str, Any]) -> Droned:
    droned.configure(json.dumps({"version": 1, "defaults": {"start": {"grace": "100ms"}}, "apps": apps}))
    droned.start()
    return droned


def answers(droned: Droned, query: str = "") -> list[dict[str, Any]]:
    """All objects of an answer that ends."""
    whole = b"".join(droned.api.stream(f"/logs{query}"))
    return [json.loads(line) for line in whole.splitlines()]


def lines(droned: Droned, query: str = "") -> list[str]:
    return [each["line"] for each in answers(droned, query) if "line" in each]


@contextmanager
def asking(droned: Droned, path: str, accept: str = "*/*") -> Iterator[socket.socket]:
    """A connection on which `path` was asked for, and nothing has been read yet."""
    with closing(socket.socket(socket.AF_UNIX)) as sock:
        sock.settimeout(20.0)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect(str(droned.socket))
        sock.send(f"GET /api/v1{path} HTTP/1.1\r\nHost: droned\r\nAccept: {accept}\r\n\r\n".encode())
        yield sock


def readers(droned: Droned) -> list[int]:
    """The pids of the daemon's readers."""
    daemon = droned.daemon_pid
    stats = [processes.stat(pid) for pid in processes.pids()]
    return [each.pid for each in stats if each is not None and each.parent == daemon]


def until_readers(droned: Droned, count: int) -> None:
    """Wait until there are exactly so many."""
    until(lambda: len(readers(droned)) == count, what=f"{count} readers")


def states(pids: list[int]) -> set[str]:
    """What these processes are doing, as ps shows it."""
    return {each.state for each in map(processes.stat, pids) if each is not None}


def note(droned: Droned) -> str:
    [service] = [each for each in droned.in_control()["services"] if each["name"] == "logs"]
    return str(service["note"])


def memory_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def kept_bytes(droned: Droned, instance: str) -> int:
    return int(droned.api.get("/logs/usage")["instances"].get(instance, {}).get("bytes", 0))


def test_a_follower_is_told_line_by_line_and_its_reader_goes_with_it(droned: Droned) -> None:
    started(droned, count=python(COUNT))
    with asking(droned, "/logs?follow=true&target=count", "text/event-stream") as sock:
        seen = b""
        while seen.count(b"\ndata: ") < 50:
            seen += sock.recv(4096)
        assert b"Content-Type: text/event-stream" in seen
        assert b"\nid: " in seen
        assert len(readers(droned)) == 1
        until(lambda: "1 following" in note(droned))
    until_readers(droned, 0)
    assert "0 following, 0 searching" in note(droned)


def test_a_client_that_does_not_read_costs_nobody_anything(droned: Droned) -> None:
    started(droned, flood=python(FLOOD, logs={"max_size": "1M", "keep": 50, "compress": False}))
    until(lambda: len(lines(droned, "?last=10")) == 10)
    daemon = droned.daemon_pid
    with ExitStack() as stack:
        before = memory_bytes(daemon)
        socks = [
            stack.enter_context(asking(droned, "/logs?follow=true", accept))
            for accept in ("*/*", "text/event-stream") * 4
        ]
        until_readers(droned, len(socks))
        until(lambda: states(readers(droned)) == {"S"}, what="all readers wait")
        captured = [each["position"] for each in answers(droned, "?last=1")][-1]
        time.sleep(1.0)
        assert memory_bytes(daemon) - before < MEMORY_BYTES
        later = [each["position"] for each in answers(droned, "?last=1")][-1]
        assert later > captured + 1_000_000, "capture goes on as if nobody asked"
        assert droned.api.daemon(timeout_s=5.0)["pid"] == daemon
        for sock in socks:
            assert b"HTTP/1.1 200 OK" in sock.recv(4096)
    until_readers(droned, 0)


def test_there_are_only_so_many_readers_at_once(droned: Droned) -> None:
    started(droned, flow=python(FLOW, logs={"max_size": "1M", "compress": False}))
    until(lambda: kept_bytes(droned, "flow/0") > 4_000_000)
    for count, query, what in ((FOLLOWERS, "?follow=true", "follow"), (SEARCHES, "?until=0s", "search")):
        with ExitStack() as stack:
            for _ in range(count):
                stack.enter_context(asking(droned, f"/logs{query}"))
            until_readers(droned, count)
            with pytest.raises(Refused) as refused:
                answers(droned, query)
            assert refused.value.status == 503
            assert refused.value.problem["code"] == "busy"
            assert f"cannot {what} logs: {count} do so already" in refused.value.problem["detail"]
        until_readers(droned, 0)
        assert lines(droned, "?last=1")


def test_over_a_kill_of_the_daemon_nothing_is_missing_or_twice(droned: Droned) -> None:
    started(droned, count=python(COUNT))
    until(lambda: len(lines(droned)) > 50)
    seen: list[dict[str, Any]] = []
    for _ in range(3):
        after = f"&after={seen[-1]['position']}" if seen else ""
        with asking(droned, f"/logs?follow=true&target=count{after}") as sock:
            told = b""
            while told.count(b"\n") < 100:
                told += sock.recv(65536)
            os.kill(droned.daemon_pid, signal.SIGKILL)
        whole = [
            part for part in told.split(b"\n")[:-1] if part.startswith(b"{") and part.strip().endswith(b"}")
        ]
        seen += [each for each in map(json.loads, whole) if "line" in each]
        droned.in_control()
    assert [each["line"] for each in seen] == [str(number) for number in range(len(seen))]
    until(lambda: not droned.api.get("/issues")["issues"], what="no orphans are left")


def test_a_policy_holds_from_the_reload_on(droned: Droned) -> None:
    apps = {"flow": python(FLOW)}
    started(droned, **apps)
    before = droned.until_state("running")["flow/0"]["pid"]
    segments = droned.state_dir / "logs" / "flow" / "0"
    until(lambda: kept_bytes(droned, "flow/0") > 1_000_000)
    apps["flow"]["logs"] = {"max_size": "64K", "keep": 2, "compress": False}
    droned.configure(json.dumps({"version": 1, "apps": apps}))
    droned.reload()
    until(lambda: kept_bytes(droned, "flow/0") < 1_000_000, what="few small segments are kept")
    assert len(list(segments.glob("stdout-*.log"))) <= 5
    assert droned.rows()["flow/0"]["pid"] == before
    os.kill(droned.in_control()["logs_pid"], signal.SIGKILL)
    until(lambda: "cannot reach" not in note(droned) and lines(droned, "?last=1"))
    until(lambda: kept_bytes(droned, "flow/0") < 1_000_000, what="the next droned-logs knows of it")


def test_stderr_can_be_one_stream_with_stdout(droned: Droned) -> None:
    started(droned, say=python(SAY, logs={"stderr": "merged"}))
    until(lambda: lines(droned) == ["said", "oh no"])
    assert {each["stream"] for each in answers(droned) if "line" in each} == {"output"}
    paths = droned.api.instance("say/0")["logs"]
    assert list(paths) == ["output"]
    assert Path(paths["output"]).read_text() == "said\noh no\n"


def test_direct_output_goes_to_plain_files(droned: Droned) -> None:
    started(droned, say=python(SAY, logs={"direct": True}))
    droned.until_state("running")
    described = droned.api.instance("say/0")
    paths = {stream: Path(path) for stream, path in described["logs"].items()}
    assert paths["stdout"] == droned.state_dir / "logs" / "say" / "0.stdout.log"
    until(lambda: (paths["stdout"].read_text(), paths["stderr"].read_text()) == ("said\n", "oh no\n"))
    assert described["output_begins"] == [{"run": 1, "stdout": 0, "stderr": 0}]
    assert lines(droned) == []


def test_rotate_and_clear_do_it_at_once(droned: Droned) -> None:
    started(droned, say=python(SAY))
    until(lambda: lines(droned) == ["said", "oh no"])
    order = {"targets": ["say/0"]}
    assert droned.api.ask("POST", "/logs/rotate", body=order)["rotated"] == 2
    assert lines(droned) == ["said", "oh no"]
    assert droned.api.ask("POST", "/logs/clear", body=order)["bytes"] >= len("said\noh no\n")
    assert lines(droned) == []


def test_what_left_the_configuration_can_still_be_read_and_cleared(droned: Droned) -> None:
    started(droned, said=python(SAY), old=python(SAY, instances=2))
    until(lambda: len(lines(droned, "?target=old")) == 4)
    droned.configure(json.dumps({"version": 1, "apps": {"said": python(SAY)}}))
    droned.reload()
    until(lambda: not [key for key in droned.rows() if key.startswith("old/")])
    assert sorted(lines(droned, "?target=old")) == ["oh no", "oh no", "said", "said"]
    assert droned.done("logs", "-g", "no", "--since", "1h", "old/0") == "oh no\n"
    assert kept_bytes(droned, "old/1") > 0
    with pytest.raises(Refused, match='cannot find instance or app "odl"; did you mean'):
        droned.api.get("/logs?target=odl")
    droned.api.ask("POST", "/logs/rotate", body={"targets": ["old"]})
    assert len(lines(droned, "?target=old")) == 4
    assert droned.api.ask("POST", "/logs/clear", body={"targets": ["old/1"]})["bytes"] > 0
    assert sorted(lines(droned, "?target=old")) == ["oh no", "said"]


def test_the_last_lines_of_a_run_that_failed_are_told(droned: Droned) -> None:
    code = "import sys; print('about to'); sys.exit('no module')"
    started(droned, bad=python(code, restart={"policy": "never"}))
    droned.until_state("failed", "stopped", "exited", of=("bad/0",))

    def told() -> Any:
        return droned.api.instance("bad/0")["exits"][-1].get("last_lines")

    found = until(told)
    assert {(each["stream"], each["line"]) for each in found} == {
        ("stdout", "about to"),
        ("stderr", "no module"),
    }
    assert droned.api.get("/instances/bad/0/why")["last_lines"] == found


def test_droneds_own_log_can_be_captured(droned: Droned) -> None:
    settings = {"log": {"to": "file"}}
    apps = {"say": python(SAY)}
    droned.configure(json.dumps({"version": 1, "apps": apps, "droned": settings}))
    droned.start()
    until(lambda: any("in control" in line for line in lines(droned, "?target=droned/log")))
    os.kill(droned.in_control()["logs_pid"], signal.SIGKILL)
    until(lambda: "cannot reach" not in note(droned) and "pid" in note(droned))
    droned.api.ask("POST", "/actions", body={"command": "restart", "targets": ["say"]})
    until(lambda: any("restart say" in line for line in lines(droned, "?target=droned/log")))
