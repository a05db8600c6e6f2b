"""dronectl on a pseudo-terminal: colour, cutting, drawn progress, watching, Ctrl-C; and closed pipes."""

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.ctl.stub import Asked, Reply, StubDaemon, event, problem, row

CODE = "from droned.ctl.main import main; main()"


class Terminal:
    """A dronectl whose standard streams are a terminal of 80 columns (or which are told)."""

    def __init__(self, *arguments: str, columns: int = 80, lines: int = 24, **environ: str) -> None:
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self.process = subprocess.Popen(
            [sys.executable, "-c", CODE, *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            env={**os.environ, "TERM": "xterm", "TZ": "UTC", **environ},
            # Between fork and exec: a controlling terminal, for Ctrl-C. Nothing else of ours forks meanwhile.
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509
        )
        os.close(slave)
        self.text = ""

    def read_until(self, pattern: str, seconds: float = 20.0) -> str:
        """What was written, once it matches; fails when it does not in time."""
        deadline = time.monotonic() + seconds
        while not re.search(pattern, self.text):
            left = deadline - time.monotonic()
            assert left > 0, f"no {pattern!r} in {self.text!r}"
            if select.select([self.master], [], [], left)[0]:
                try:
                    piece = os.read(self.master, 65536)
                except OSError:  # the other side is closed
                    piece = b""
                assert piece, f"no {pattern!r} in {self.text!r}"
                self.text += piece.decode("utf-8", "surrogateescape")
        return self.text

    def finish(self) -> int:
        """Read to the end; the exit status."""
        while select.select([self.master], [], [], 20.0)[0]:
            try:
                piece = os.read(self.master, 65536)
            except OSError:
                break
            if not piece:
                break
            self.text += piece.decode("utf-8", "surrogateescape")
        return self.process.wait(20)

    def close(self) -> None:
        """End it if it still runs."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.master)


@pytest.fixture
def terminals() -> Iterator[Any]:
    opened: list[Terminal] = []

    def start(*arguments: str, **options: Any) -> Terminal:
        opened.append(Terminal(*arguments, **options))
        return opened[-1]

    yield start
    for each in opened:
        each.close()


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text).replace("\r\n", "\n")


def ago(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - seconds))


def test_a_table_is_coloured_relative_and_cut(daemon: StubDaemon, terminals: Any) -> None:
    daemon.rows[0]["started_at"] = ago(3 * 86400 + 4 * 3600 + 100)
    daemon.rows[1]["note"] = "a note that is much too long for what is left of the line on this terminal"
    terminal = terminals("status")
    assert terminal.finish() == 0
    assert "\x1b[32mrunning\x1b[0m" in terminal.text
    lines = plain(terminal.text).splitlines()
    assert lines[:4] == [
        "INSTANCE  STATE    READY  PID    UP    RESTARTS  NOTE",
        "web/0     running  yes    48213  3d4h  0         -",
        "web/1     backoff  -      -      -     7         a note that is much too long f…",
        "db/0      stopped  -      -      -     0         -",
    ]
    assert re.fullmatch(
        r"3 instances: 1 running, 1 backoff, 1 stopped +version 88214 of (\S+ )?12:04:31 \(.*ago\), live",
        lines[4],
    )


@pytest.mark.parametrize("options", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_colour_can_be_had_away(daemon: StubDaemon, terminals: Any, options: dict[str, str]) -> None:
    terminal = terminals("status", **options)
    assert terminal.finish() == 0
    assert "\x1b" not in terminal.text


def test_json_on_a_terminal_is_the_same_document_with_escapes(daemon: StubDaemon, terminals: Any) -> None:
    daemon.will("GET", "/instances", Reply(200, body='{"x":"\u202e\x9b"}'.encode()))
    terminal = terminals("status", "-o", "json")
    assert terminal.finish() == 0
    assert terminal.text == '{"x":"\\u202e\\u009b"}\r\n'


def test_progress_grows_in_place(daemon: StubDaemon, terminals: Any) -> None:
    daemon.action(
        "restart",
        [row("web/0", "stopping"), row("web/1")],
        [row("web/0", "starting"), row("web/1")],
        [row("web/0"), row("web/1")],
    )
    terminal = terminals("restart", "web", NO_COLOR="1")
    assert terminal.finish() == 0
    drawn = terminal.text.split("\x1b[J")
    assert drawn[-1] == "web/0  stopping … starting … running\r\nweb/1  running\r\n"
    assert drawn[0].endswith("\x1b[2A\r"), "the next drawing begins above the two lines"


def test_a_notice_stands_above_the_drawing(daemon: StubDaemon, terminals: Any) -> None:
    daemon.action("restart", [row("web/0", "starting")], [row("web/0")])
    first, last = (Reply(200, each) for each in daemon.actions["A1"])
    away = problem(503, "not-in-service", "cannot: droned is starting")
    daemon.will("GET", "/actions/A1", first, away, last)
    terminal = terminals("restart", "web/0", NO_COLOR="1")
    assert terminal.finish() == 0
    assert terminal.text == (
        "web/0  starting …\r\n"
        "\x1b[1A\r\x1b[Jthe daemon is away; asking again for up to 10 s\r\n"
        "the daemon answers again\r\n"
        "web/0  starting … running\r\n"
    )


def test_more_instances_than_lines_are_told_in_numbers(daemon: StubDaemon, terminals: Any) -> None:
    rows = [row(f"web/{number}", "starting") for number in range(30)]
    daemon.action("start", rows, [{**each, "state": "running"} for each in rows])
    terminal = terminals("start", "web", lines=10, NO_COLOR="1")
    assert terminal.finish() == 0
    assert "30 instances: 30 starting" in terminal.text
    assert "30 instances: 30 running" in terminal.text
    assert "web/7" not in terminal.text


def test_a_trail_never_wraps(daemon: StubDaemon, terminals: Any) -> None:
    states = ["starting", "backoff"] * 10
    daemon.action("start", *([row("web/0", state)] for state in [*states, "running"]))
    terminal = terminals("start", "web/0", columns=40, NO_COLOR="1")
    assert terminal.finish() == 0
    assert max(len(line) for line in re.split(r"\r\n|\x1b\[1A\r\x1b\[J", terminal.text)) < 40


def test_ctrl_c_in_a_wait_is_130_and_the_work_goes_on(daemon: StubDaemon, terminals: Any) -> None:
    def slowly(asked: Asked) -> Reply:
        if "wait" in asked.query:
            time.sleep(1.0)
        return Reply(200, daemon.actions["A1"][0])

    daemon.action("restart", [row("web/0", "starting")], [row("web/0")])
    daemon.will("GET", "/actions/A1", slowly)
    terminal = terminals("restart", "web")
    terminal.read_until("starting")
    os.write(terminal.master, b"\x03")
    assert terminal.finish() == 130
    assert "the work goes on; see dronectl status web" in plain(terminal.text)
    assert "Traceback" not in terminal.text


@pytest.mark.parametrize("verb", [["status"], ["events", "-f"], ["check", "web"], ["daemon", "status"]])
def test_ctrl_c_in_a_question_leaves_no_trace(daemon: StubDaemon, terminals: Any, verb: list[str]) -> None:
    def slowly(asked: Asked) -> Reply:
        time.sleep(2.0)
        return Reply(200, {})

    for path in ("/instances", "/events", "/daemon"):
        daemon.will("GET", path, slowly)
    terminal = terminals(*verb)
    deadline = time.monotonic() + 20
    while not daemon.asked and time.monotonic() < deadline:
        time.sleep(0.01)
    os.write(terminal.master, b"\x03")
    assert terminal.finish() == 130
    assert "Traceback" not in terminal.text


def test_watch_draws_again_and_tells_a_lost_daemon(daemon: StubDaemon, terminals: Any) -> None:
    happened = threading.Event()

    def stream(asked: Asked) -> Reply:
        def pieces() -> Iterator[bytes]:
            yield b'{"type": "sync", "version": 1}\n'
            happened.wait(20)
            yield json.dumps(event(2, "instance-stopped", "web/0", "")).encode() + b"\n"
            time.sleep(20)

        return Reply(200, pieces=pieces(), content_type="application/x-ndjson")

    daemon.will("GET", "/events", stream)
    terminal = terminals("status", "-w", NO_COLOR="1")
    terminal.read_until(r"web/0 +running")
    assert terminal.text.startswith("\x1b[?1049h\x1b[?25l")
    daemon.rows[0] = row("web/0", "stopped")
    happened.set()
    terminal.read_until(r"web/0 +stopped")
    daemon.stop()
    terminal.read_until("stale: the daemon is away since")
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.finish() == 130
    assert terminal.text.endswith("\x1b[?25h\x1b[?1049l")
    assert "Traceback" not in terminal.text


def test_watch_counts_what_does_not_fit(daemon: StubDaemon, terminals: Any) -> None:
    daemon.rows = [row(f"web/{number}") for number in range(40)]
    terminal = terminals("status", "-w", lines=10)
    terminal.read_until("34 more lines; make the terminal taller")
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.finish() == 130


def test_watch_is_for_terminals(daemon: StubDaemon) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CODE, "status", "-w"], capture_output=True, text=True, timeout=30
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "cannot watch: standard output is not a terminal" in done.stderr


@pytest.mark.parametrize(
    "verb",
    [
        ["status"],
        ["status", "-o", "json"],
        ["events", "--since", "0"],
        ["--help"],
        ["logs"],
        ["logs", "-o", "raw"],
    ],
)
def test_a_reader_that_goes_away_leaves_no_trace(daemon: StubDaemon, verb: list[str]) -> None:
    daemon.rows = [row(f"web/{number}") for number in range(3000)]
    daemon.events = [event(number, "instance-started", "web/0", "x" * 200) for number in range(1, 900)]
    lines = [captured(number, "x" * 200, "web/0") for number in range(900)]
    daemon.will("GET", "/logs", Reply(200, pieces=lines, content_type="application/x-ndjson"))
    reading, writing = os.pipe()
    os.close(reading)
    process = subprocess.Popen([sys.executable, "-c", CODE, *verb], stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (141, b"")


def test_a_full_disk_is_one_line(daemon: StubDaemon) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-c", CODE, "status"], stdout=full, stderr=subprocess.PIPE, timeout=30
        )
    assert done.returncode == 1
    assert done.stderr == b"error: cannot write the output: No space left on device\n"


def test_closed_standard_streams_are_no_bug(daemon: StubDaemon) -> None:
    for redirected in (">&-", "2>&-"):
        script = f'exec "$0" -c "$1" status {redirected}'
        command = ["sh", "-c", script, sys.executable, CODE]
        done = subprocess.run(command, capture_output=True, timeout=30)
        assert done.returncode == 0
        assert b"Traceback" not in done.stderr


def test_a_poor_encoding_is_no_bug(daemon: StubDaemon) -> None:
    daemon.rows[0]["note"] = "grün 漢字"
    environ = {**os.environ, "PYTHONIOENCODING": "ascii", "LC_ALL": "C"}
    done = subprocess.run(
        [sys.executable, "-c", CODE, "status"], capture_output=True, timeout=30, env=environ
    )
    assert done.returncode == 0
    assert b"gr\\xfcn \\u6f22\\u5b57" in done.stdout


def test_why_loses_neither_a_text_nor_its_mark_on_a_terminal(terminals: Any, daemon: StubDaemon) -> None:
    chain = [
        event(90, "instance-crashed", "web/1", "exited 1 after 0.4s; next start in 12s (try 3)"),
        event(
            88,
            "configuration-loaded",
            "server",
            "configuration from /srv/some/folder/further/down/droned.yaml: 3 apps",
        ),
    ]
    daemon.will("GET", "/instances/web/1/why", Reply(200, {"instance": daemon.rows[1], "chain": chain}))
    terminal = terminals("why", "web/1", NO_COLOR="1")
    assert terminal.finish() == 0
    assert [line.rstrip() for line in terminal.text.splitlines()[1:]] == [
        "VERSION  AT                   TYPE                  SUBJECT  TEXT",
        "90       2026-11-22 12:04:31  instance-crashed      web/1",
        "         exited 1 after 0.4s; next start in 12s (try 3)",
        "88       2026-11-22 12:04:31  configuration-loaded  server",
        "         configuration from /srv/some/folder/further/down/droned.yaml: 3 apps",
        "         <- began here",
    ]


def captured(position: int, text: str, instance: str, stream: str = "stdout", **more: Any) -> bytes:
    record = {"position": position, "at": "2026-11-22T12:04:31.118204Z", "instance": instance, "run": 3}
    return json.dumps({**record, "stream": stream, "line": text, **more}).encode() + b"\n"


def test_logs_on_a_terminal_are_painted_and_escaped(daemon: StubDaemon, terminals: Any) -> None:
    began = {"event": "run", "position": 3, "at": "2026-11-22T12:04:31Z", "instance": "web/0", "run": 4}
    lost = {"event": "lost", "position": 4, "instance": "db/0", "stream": "stdout", "bytes": 1, "reason": "x"}
    pieces = [
        captured(1, "\x1b[2J\x1b[1;31mhel\rlo\x1b[m\tyou\r", "web/0"),
        captured(2, "\udcff no", "db/0", "stderr"),
        captured(3, "begun ", "web/0", more=True),
        json.dumps({**began, "what": "began"}).encode() + b"\n",
        json.dumps(lost).encode() + b"\n",
        captured(4, "and ended", "web/0"),
        b'{"event": "end", "position": 4}\n',
    ]
    daemon.will("GET", "/logs", Reply(200, pieces=[b"".join(pieces)], content_type="application/x-ndjson"))
    terminal = terminals("logs")
    assert terminal.finish() == 0
    assert "\x1b[36mweb/0\x1b[0m | " in terminal.text
    assert "\x1b[32mdb/0\x1b[0m  \x1b[31mE\x1b[0m " in terminal.text
    assert [each.expandtabs(1) for each in plain(terminal.text).splitlines()] == [
        "web/0 | \\x1b[2Jhel\\rlo you",
        "db/0  E \\xff no",
        "web/0 | begun ",
        "--- web/0 run 4 began 2026-11-22 12:04:31 ---",
        "--- db/0 stdout: 1 byte lost: x ---",
        "web/0 | and ended",
    ]
    terminal = terminals("logs", "web/0", "-t", "--utc", NO_COLOR="1")
    assert terminal.finish() == 0
    assert terminal.text.startswith("2026-11-22 12:04:31.118Z | \\x1b[2Jhel\\rlo\tyou\r\n")
    assert "\x1b" not in terminal.text
    terminal = terminals("logs", "-o", "raw")
    assert terminal.finish() == 0
    assert "\x1b[2J\x1b[1;31mhel\rlo\x1b[m\tyou\r\r\n" in terminal.text


def test_ctrl_c_ends_a_follow_with_130(daemon: StubDaemon, terminals: Any) -> None:
    def stream(asked: Asked) -> Reply:
        def pieces() -> Iterator[bytes]:
            yield captured(1, "hello", "web/0")
            time.sleep(20)

        return Reply(200, pieces=pieces(), content_type="application/x-ndjson")

    daemon.will("GET", "/logs", stream)
    terminal = terminals("logs", "-f", "web/0")
    terminal.read_until("hello")
    os.write(terminal.master, b"\x03")
    assert terminal.finish() == 130
    assert "Traceback" not in terminal.text


@pytest.mark.parametrize(("answer", "status"), [("y", 0), ("n", 1), ("\x03", 130)])
def test_clear_asks_on_a_terminal(daemon: StubDaemon, terminals: Any, answer: str, status: int) -> None:
    daemon.will("POST", "/logs/clear", Reply(200, {"bytes": 12}))
    terminal = terminals("logs", "clear", "web")
    terminal.read_until(r"delete all captured output of web\? \[y/N\]: ")
    os.write(terminal.master, answer.encode() + b"\n")
    assert terminal.finish() == status
    assert len(daemon.asked_for("POST", "/logs/clear")) == (status == 0)
    assert ("deleted 12B" in terminal.text) == (status == 0)
    assert "Traceback" not in terminal.text
