"""What the demo needs before droned can run it: folders, a configuration with free ports, and a text."""

import json
import os
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from droned.errors import CannotRun
from droned.models.places import Places, places_of

HERE = Path(__file__).resolve().parent
INSTANCES = 2
BASE_PORTS = (8080, 18080, 28080, 38080, 48080)
"""The first whose ports are all free is taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Demo:
    """A demo that is ready to be run."""

    config_path: str
    state_dir: str
    socket_path: str
    text: str
    """What to tell the user: what runs, where, and what to try."""

    @property
    def arguments(self) -> list[str]:
        """The arguments of `droned run` that run it."""
        return ["-c", self.config_path, "--state", self.state_dir, "--socket", self.socket_path]


def prepare(uid: int, environ: Mapping[str, str]) -> Demo:
    """Write the demo's configuration into its state folder, which has to exist, and make the socket's folder.

    Raises CannotRun when none of the ports is free or a folder cannot be written.
    """
    places = places_of(uid, environ)
    base_port = free_base_port()
    config_path = f"{places.demo_state_dir}/demo.yaml"
    try:
        os.makedirs(places.run_dir, mode=0o755 if uid == 0 else 0o700, exist_ok=True)
        Path(config_path).write_text(configuration(base_port), "utf-8")
    except OSError as error:
        raise CannotRun(f"cannot prepare the demo: {error}") from error
    return Demo(
        config_path=config_path,
        state_dir=places.demo_state_dir,
        socket_path=places.demo_socket,
        text=introduction(places, base_port),
    )


def configuration(base_port: int) -> str:
    """The demo's configuration with this Python, the programs beside this file, and `base_port` put in."""
    text = (HERE / "environment.yaml").read_text("utf-8")
    text = text.replace("@PORT@", str(base_port)).replace("@PYTHON@", _quoted(sys.executable))
    for program in ("web.py", "worker.py", "flaky.py"):
        text = text.replace(f"@PROGRAMS/{program}@", _quoted(str(HERE / "programs" / program)))
    return text


def _quoted(text: str) -> str:
    """`text` as YAML takes it word for word: JSON's string, and `$` doubled."""
    return json.dumps(text.replace("$", "$$"))


def free_base_port() -> int:
    """The first of `BASE_PORTS` where each instance finds its port free; else CannotRun."""
    for base in BASE_PORTS:
        if all(_is_free(port) for port in range(base, base + INSTANCES)):
            return base
    tried = ", ".join(f"{base} to {base + INSTANCES - 1}" for base in BASE_PORTS)
    raise CannotRun(f"cannot start the demo: no free ports on 127.0.0.1 among {tried}")


def _is_free(port: int) -> bool:
    """Can a server listen on `port` of the loopback address, the way the demo's will?"""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            probe.listen(1)
        except OSError:
            return False
    return True


def introduction(places: Places, base_port: int) -> str:
    """What the user reads first."""
    ctl = control_command()
    ports = "  ".join(f"http://127.0.0.1:{base_port + label}/" for label in range(INSTANCES))
    lines = [
        "A small environment, kept running by droned. Ctrl-C ends it and leaves nothing behind.",
        "",
        f"  web/0, web/1   {ports}",
        "  worker/0       finishes its job before it obeys a stop",
        "  flaky/0        fails after 10 to 40 seconds, again and again",
        "",
        "Try, in another terminal:",
        "",
        f"  {ctl} status           what runs, and since when",
        f"  {ctl} why flaky        what happened to it, and because of what",
        f"  {ctl} restart web      waits, and says what came of it",
        f"  {ctl} scale worker=3   more of it",
        f"  {ctl} logs -f          what all of them write, also over restarts of anything",
        f"  {ctl} events -f        everything, as it happens",
        f"  {ctl} daemon status    the pids of droned itself: kill -9 any of them,",
        f"  {' ' * len(ctl)}                  then look at the uptimes: no program noticed",
    ]
    if _answers(places.socket):
        lines += [
            "",
            f"A droned runs here already. For the demo: export DRONED_HOST=unix://{places.demo_socket}",
        ]
    return "\n".join([*lines, ""])


def control_command() -> str:
    """How the user calls dronectl: the checkout's script as seen from here, or the installed command."""
    script = HERE.parent.parent / "bin" / "dronectl"
    if not script.exists():
        return "dronectl"
    return min((os.path.relpath(script), str(script)), key=len)


def _answers(path: str) -> bool:
    """Does anything listen on the Unix socket `path`?"""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(path)
        except OSError:
            return False
    return True
