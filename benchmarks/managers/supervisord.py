"""supervisord 4.3.0, in a virtual environment of its own, with the settings that are fastest for it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.managers.base import Failed, Manager, Question
from tests.faults import programs

VERSION = "4.3.0"
ENVIRONMENT = programs.CACHE.parent / f"supervisor-{VERSION}"

CONFIGURATION = """\
[supervisord]
nodaemon=true
logfile=/dev/null
logfile_maxbytes=0
pidfile={folder}/pid
childlogdir={folder}
; Every fork closes `minfds` descriptors: no more than these programs need.
minfds={descriptors}
[unix_http_server]
file={socket}
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
[supervisorctl]
serverurl=unix://{socket}
"""

PROGRAM = """\
[program:{app.name}]
command={command}
process_name=%(process_num)d
numprocs={app.instances}
autorestart=true
; A program counts as running at once, and is started again at once however often it ends.
startsecs=0
startretries=1000000
"""

NOT_CAPTURED = """\
redirect_stderr=true
stdout_logfile=NONE
"""

BACKUPS = 5
CAPTURED = """\
redirect_stderr=false
stdout_logfile={folder}/{app.name}-%(process_num)d.stdout
stdout_logfile_maxbytes=50MB
stdout_logfile_backups={backups}
stderr_logfile={folder}/{app.name}-%(process_num)d.stderr
stderr_logfile_maxbytes=50MB
stderr_logfile_backups={backups}
"""
"""As droned treats it by default, but that droned compresses."""

ASK = b"<?xml version='1.0'?><methodCall><methodName>supervisor.getAllProcessInfo</methodName></methodCall>"


def installed() -> Path:
    """The folder of supervisord's programs; makes the virtual environment the first time."""
    folder = ENVIRONMENT / "bin"
    ready = ENVIRONMENT / "ready"
    if not ready.exists():
        for command in (
            [sys.executable, "-m", "venv", "--clear", str(ENVIRONMENT)],
            [str(folder / "python"), "-m", "pip", "install", "-q", f"supervisor=={VERSION}"],
        ):
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                raise Failed(f"cannot install supervisor {VERSION}: {done.stderr.strip()[-500:]}")
        ready.touch()
    return folder


class Supervisord(Manager):
    """The manager that most people would otherwise run."""

    name = "supervisord"

    def command(self) -> Sequence[str]:
        """supervisord in the foreground."""
        # Of each program: its three pipes, and its two files where there are any.
        descriptors = 5 * self.count + 100
        text = CONFIGURATION.format(folder=self.folder, socket=self.socket, descriptors=descriptors)
        for app in self.apps:
            text += PROGRAM.format(
                app=app, command=" ".join(self.program(app, app.name + "/%(process_num)d"))
            )
            treatment = CAPTURED if app.is_captured else NOT_CAPTURED
            text += treatment.format(app=app, folder=self.folder, backups=BACKUPS)
        self.configuration.write_text(text)
        return [str(installed() / "supervisord"), "-c", str(self.configuration)]

    def log_files(self, name: str) -> list[Path]:
        """The file and its backups."""
        newest = self.folder / f"{name.replace('/', '-')}.stdout"
        older = [newest.with_name(f"{newest.name}.{number}") for number in range(BACKUPS, 0, -1)]
        return [path for path in (*older, newest) if path.exists()]

    @property
    def configuration(self) -> Path:
        """Its configuration file."""
        return self.folder / "supervisord.conf"

    def question(self) -> Question:
        """XML-RPC over its Unix socket, kept alive."""
        head = (
            "POST /RPC2 HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive\r\nContent-Type: text/xml\r\n"
            f"Content-Length: {len(ASK)}\r\n\r\n"
        )
        mark = "<name>statename</name>"
        return Question(socket=self.socket, request=head.encode() + ASK, kind="http", mark=mark)

    def client_command(self) -> Sequence[str]:
        """supervisorctl status."""
        return [str(installed() / "supervisorctl"), "-c", str(self.configuration), "status"]
