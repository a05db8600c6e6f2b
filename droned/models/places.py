"""Where droned keeps and looks for things when nobody said otherwise.

Root uses the system's folders, anybody else the XDG folders of their own. `DRONED_CONFIG`, `DRONED_STATE` and
`DRONED_HOST` win over both; options (`-c`, `--state`, `--socket`, `--host`) win over these, which is their
readers' part. A state folder of one's own has its socket inside it, so that two droneds never meet by
accident.

The demo has folders of its own beside the real ones, and `dronectl` looks at its socket after the real one:
a demo is found without options and never stands in the way of a droned.
"""

from collections.abc import Mapping
from typing import NamedTuple

from droned.errors import BadRequest, CannotRun

SOCKET_NAME = "droned.sock"
DEMO_SOCKET_NAME = "demo.sock"
SYSTEM_SOCKET = "/run/droned/droned.sock"
LONGEST_SOCKET_PATH = 107
"""Bytes that a Unix socket's address has room for (sun_path, less its closing zero)."""


class Places(NamedTuple):
    """Absolute paths for one user; a named tuple because `dronectl` pays for its import at each start."""

    config: str
    """A folder with `droned.yaml` and `droned.d/`, or a file."""
    state_dir: str
    """What has to survive a reboot: journal, ledger, lock, output of apps."""
    run_dir: str
    """What need not: sockets."""
    socket: str
    """The socket of the droned that uses `state_dir`."""
    demo_state_dir: str
    demo_socket: str


def places_of(uid: int, environ: Mapping[str, str]) -> Places:
    """The places of the user `uid` in the environment `environ`.

    Raises CannotRun when a place hangs on `HOME` and that is missing or relative, and BadRequest for a
    relative path in a `DRONED_…` variable.
    """
    own_state = _absolute("DRONED_STATE", environ)
    if uid == 0:
        config, state_dir, run_dir = "/etc/droned", "/var/lib/droned", "/run/droned"
    else:
        config = environ.get("DRONED_CONFIG") or f"{_xdg('XDG_CONFIG_HOME', '.config', environ)}/droned"
        state_dir = own_state or f"{_xdg('XDG_STATE_HOME', '.local/state', environ)}/droned"
        runtime = environ.get("XDG_RUNTIME_DIR", "")
        # A relative XDG folder is to be ignored, says their specification.
        run_dir = f"{runtime.rstrip('/')}/droned" if runtime.startswith("/") else f"{state_dir}/run"
    if own_state:
        state_dir = run_dir = own_state
    return Places(
        config=_absolute("DRONED_CONFIG", environ) or config,
        state_dir=state_dir,
        run_dir=run_dir,
        socket=socket_of_host(environ) or f"{run_dir}/{SOCKET_NAME}",
        demo_state_dir=f"{state_dir}/demo" if own_state else f"{state_dir}-demo",
        demo_socket=f"{run_dir}/{DEMO_SOCKET_NAME}",
    )


def places_beside(state_dir: str, places: Places) -> Places:
    """`places` for a droned that was given the absolute folder `state_dir`: its socket stands inside."""
    return places._replace(state_dir=state_dir, run_dir=state_dir, socket=f"{state_dir}/{SOCKET_NAME}")


def note_beside(socket: str) -> str:
    """Where the daemon of this socket leaves word that it was stopped on purpose."""
    return f"{socket}.stopped"


def sockets_to_try(uid: int, environ: Mapping[str, str]) -> tuple[str, ...]:
    """The sockets that `dronectl` tries in turn; the first is the one to name when none answers.

    A host or state folder that was named is the only one meant. Otherwise one's own droned, one's own demo,
    and, for those whom its group lets in, the system's droned.
    """
    named = socket_of_host(environ)
    if named:
        return (named,)
    places = places_of(uid, environ)
    if uid == 0 or environ.get("DRONED_STATE"):
        return (places.socket, places.demo_socket)
    return (places.socket, places.demo_socket, SYSTEM_SOCKET)


def socket_of_host(environ: Mapping[str, str]) -> str | None:
    """The socket that `DRONED_HOST` names as `unix:///path`; None when it names nothing.

    Raises BadRequest for anything else in it.
    """
    host = environ.get("DRONED_HOST", "")
    return socket_of_url(host, "DRONED_HOST") if host else None


def socket_of_url(url: str, source: str) -> str:
    """The path in `unix:///path`; `source` names where `url` stood. Raises BadRequest for any other."""
    path = url.removeprefix("unix://")
    if path == url or not path.startswith("/"):
        raise BadRequest(f'cannot use {source} "{url}": give the socket as unix:///path')
    return path


def _absolute(name: str, environ: Mapping[str, str]) -> str | None:
    """The variable `name`, no slash at its end; None when unset or empty. Raises BadRequest if relative."""
    path = environ.get(name, "")
    if not path:
        return None
    if not path.startswith("/"):
        raise BadRequest(f'cannot use {name} "{path}": give an absolute path')
    return path.rstrip("/") or "/"


def _xdg(name: str, below_home: str, environ: Mapping[str, str]) -> str:
    """The XDG base folder `name`, by default `below_home` in the home folder."""
    folder = environ.get(name, "")
    if folder.startswith("/"):
        return folder.rstrip("/")
    home = environ.get("HOME", "")
    if not home.startswith("/"):
        raise CannotRun(
            f'cannot find a place for files: HOME is "{home}"; set it, or DRONED_STATE and DRONED_CONFIG'
        )
    return f"{home.rstrip('/')}/{below_home}"
