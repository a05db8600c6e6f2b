"""The commands `droned run`, `droned demo` and `droned version`, and the daemon's own entry.

`droned run` checks its options, makes its folders and becomes the guardian by
exec; the guardian starts the daemon, which enters by `daemon_main`. Only that
installs a reactor.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from types import ModuleType

from droned.daemon.options import RunOptions, run_options
from droned.errors import BadRequest, CannotRun, DronedError
from droned.models.version import VERSION

HELP = """usage: droned COMMAND [OPTIONS]

  run      keep the configured programs running (droned run --help)
  demo     run a small environment in the foreground, nothing to configure
  version  print the version

dronectl talks to the droned that runs."""


def main(argv: Sequence[str] | None = None) -> int:
    """The command line `droned`; its exit status. Does not return when it becomes the guardian."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        return _command(arguments)
    except DronedError as error:
        print(f"droned: {error}", file=sys.stderr)
        return error.exit_status


def _command(arguments: list[str]) -> int:
    match arguments:
        case ["run", *rest]:
            _become_guardian(run_options(rest, os.getuid(), os.environ))
        case ["demo", *rest]:
            from droned.demo.foreground import demo_command

            _become_guardian(run_options(demo_command(rest), os.getuid(), os.environ))
        case ["version"] | ["--version"]:
            print(f"droned {VERSION}")
        case [] | ["-h"] | ["--help"] | ["help"]:
            print(HELP)
            return 0 if arguments else 2
        case [other, *_]:
            raise BadRequest(f'cannot do "{other}": the commands are run, demo and version')
    return 0


def _become_guardian(options: RunOptions) -> None:
    """Make the state folder and exec the guardian over this process."""
    state = options.state_dir
    if not os.path.exists(options.config):
        raise CannotRun(f"cannot find the configuration {options.config}: give a file or folder with -c")
    try:
        os.makedirs(state, mode=0o750, exist_ok=True)
        if not os.access(state, os.R_OK | os.W_OK | os.X_OK):
            raise CannotRun(f"cannot use the state folder {state}: no permission; give another with --state")
    except OSError as error:
        raise CannotRun(f"cannot make the state folder {state}: {error.strerror}") from error
    if options.daemonize:
        from droned.daemon.background import go_to_background

        go_to_background(state, options.socket)
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    guardian = [sys.executable, "-I", "-S", "-E", f"{package}/guardian/__main__.py", "--state", state]
    if options.pidfile:
        guardian += ["--pidfile", options.pidfile]
    daemon = [sys.executable, "-I", f"{package}/daemon/__main__.py", *options.for_daemon()]
    sys.stdout.flush()
    os.execv(guardian[0], [*guardian, "--", *daemon])


def daemon_main(argv: Sequence[str]) -> int:
    """The daemon, as the guardian starts it; its exit status."""
    options = run_options(argv, os.getuid(), os.environ)
    install_reactor(options.reactor)
    from twisted.internet import reactor

    from droned.daemon.run import run_daemon

    return run_daemon(options, VERSION, reactor)


def install_reactor(name: str) -> None:
    """Install the reactor of this name, one of `options.REACTORS`, before anything imports the default.

    Twisted's TCP transports import OpenSSL for STARTTLS, which droned does
    not use: without it the daemon is 8 MB smaller and in control 0.1 s sooner.
    TLS itself (`TLSMemoryBIOFactory`) is imported by what needs it. For the
    cookies of its HTTP client Twisted imports a tenth of the standard library;
    that is put off until somebody looks at them.
    """
    module = {
        "epoll": "twisted.internet.epollreactor",
        "poll": "twisted.internet.pollreactor",
        "select": "twisted.internet.selectreactor",
        "asyncio": "twisted.internet.asyncioreactor",
    }[name]
    sys.modules["http.cookiejar"] = _Later("http.cookiejar")
    sys.modules["OpenSSL"] = None  # type: ignore[assignment]  # what makes an import fail
    try:
        import_module(module).install()
    finally:
        del sys.modules["OpenSSL"]
        if isinstance(sys.modules.get("http.cookiejar"), _Later):
            del sys.modules["http.cookiejar"]


class _Later(ModuleType):
    """Stands for a module that is imported when something of it is first asked for."""

    def __getattr__(self, name: str) -> object:
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(import_module(self.__name__), name)
