"""The one table of commands: names, arguments, roles, classes and help.

From it come the HTTP API's routes and checks, dronectl's verbs, the audit
record and the role check. What is not in the table cannot be called.

A new command touches:

1. its row in `COMMANDS` below;
2. a changing one: the function that a service registers with the dispatcher
   (`droned/services/`); a reading one: its resource in `droned/web/`;
3. its verb in `droned/ctl/`;
4. the tables of `docs/api.rst` and of dronectl's page;
5. `tests/commands/test_table.py`, a test of the function, a news fragment.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType

from msgspec import Struct

from droned.commands.arguments import SIGNAL_TO, Argument, ArgumentType, check_text, check_value
from droned.commands.nearness import hint, near_names
from droned.errors import BadRequest, NoSuchTarget


class Role(enum.StrEnum):
    """What a caller may do; each role includes those before it."""

    READ = "read"
    OPERATE = "operate"
    ADMIN = "admin"

    def includes(self, other: Role) -> bool:
        """Whether whoever has this role may do what `other` may."""
        return self is other or self is Role.ADMIN or (self is Role.OPERATE and other is Role.READ)


class CommandClass(enum.StrEnum):
    """What a command does to the state, and so what waits for the disk."""

    READ = "read"
    """Changes nothing."""
    RUN = "run"
    """Changes the state; effects do not wait for the disk, the receipt does."""
    DEFINE = "define"
    """Changes what is configured; its effects wait for the disk as well."""


class TakesTargets(enum.StrEnum):
    """Whether a command is about instances."""

    NONE = "none"
    SOME = "some"
    """At least one, or all of them by name: never none."""
    OPTIONAL = "optional"
    """None means all."""


class Command(Struct, frozen=True, kw_only=True):
    """One command."""

    name: str
    role: Role
    klass: CommandClass
    help: str
    takes_targets: TakesTargets = TakesTargets.NONE
    arguments: tuple[Argument, ...] = ()
    works_degraded: bool = False
    """Whether it is taken when the journal cannot write; what only reads always is."""
    words: str = ""
    """What it does, behind `cannot`; empty: its name says it."""

    @property
    def verb(self) -> str:
        """What it does, as an error says it: `rotate logs`."""
        return self.words or self.name


STREAMS = ("stdout", "stderr", "output")
"""Names of captured streams, as in `logs.format`, which dronectl need not import; `output` is both in one."""

_LIMIT = Argument(name="limit", type=ArgumentType.COUNT, help="at most so many")
_SINCE = Argument(
    name="since", type=ArgumentType.POSITION, help="only what is later than this version or event id"
)

_ROWS: tuple[Command, ...] = (
    Command(
        name="status",
        role=Role.READ,
        klass=CommandClass.READ,
        takes_targets=TakesTargets.OPTIONAL,
        arguments=(
            _LIMIT,
            Argument(name="after", type=ArgumentType.TEXT, help="go on behind this instance"),
        ),
        help="show the instances as they are now",
        works_degraded=True,
    ),
    Command(
        name="describe",
        role=Role.READ,
        klass=CommandClass.READ,
        takes_targets=TakesTargets.SOME,
        help="show all that is known about an instance",
        works_degraded=True,
    ),
    Command(
        name="why",
        role=Role.READ,
        klass=CommandClass.READ,
        takes_targets=TakesTargets.SOME,
        help="show the chain of causes that made an instance what it is",
        works_degraded=True,
    ),
    Command(
        name="history",
        role=Role.READ,
        klass=CommandClass.READ,
        takes_targets=TakesTargets.SOME,
        arguments=(
            Argument(name="limit", type=ArgumentType.COUNT, default=50, most=10_000, help="the last so many"),
            _SINCE,
        ),
        help="show what happened to an instance, from the journal",
        works_degraded=True,
    ),
    Command(
        name="events",
        role=Role.READ,
        klass=CommandClass.READ,
        takes_targets=TakesTargets.OPTIONAL,
        arguments=(
            _SINCE,
            Argument(name="type", type=ArgumentType.TEXTS, default=(), help="only events of these types"),
            Argument(
                name="limit", type=ArgumentType.COUNT, default=1_000, most=10_000, help="at most so many"
            ),
            Argument(name="follow", type=ArgumentType.FLAG, default=False, help="go on as they happen"),
        ),
        help="show what happened, oldest first",
        works_degraded=True,
    ),
    Command(
        name="issues",
        role=Role.READ,
        klass=CommandClass.READ,
        help="show what a person must look at",
        works_degraded=True,
    ),
    Command(
        name="actions",
        role=Role.READ,
        klass=CommandClass.READ,
        arguments=(
            Argument(
                name="wait",
                type=ArgumentType.SECONDS,
                most=60.0,
                default=0.0,
                help="of one action: answer when it or one of its instances changed, or after so long",
            ),
            Argument(
                name="since",
                type=ArgumentType.COUNT,
                most=2**62,
                help="of one action: the version that the caller has seen",
            ),
        ),
        help="show what commands set going and how far it is",
        works_degraded=True,
    ),
    Command(
        name="apps",
        role=Role.READ,
        klass=CommandClass.READ,
        help="show what is configured",
        works_degraded=True,
    ),
    Command(
        name="logs",
        role=Role.READ,
        klass=CommandClass.READ,
        takes_targets=TakesTargets.OPTIONAL,
        arguments=(
            Argument(
                name="stream",
                type=ArgumentType.TEXTS,
                default=(),
                choices=STREAMS,
                help="only what was written there",
            ),
            Argument(name="since", type=ArgumentType.MOMENT, help="only what was captured from then on"),
            Argument(name="until", type=ArgumentType.MOMENT, help="only what was captured before then"),
            Argument(
                name="after",
                type=ArgumentType.COUNT,
                most=2**62,
                help="go on behind the line of this position; wins over since and last",
            ),
            Argument(
                name="last", type=ArgumentType.COUNT, most=100_000, help="of the past, only so many lines"
            ),
            Argument(name="run", type=ArgumentType.COUNT, most=2**53, help="only this run of each instance"),
            Argument(
                name="previous",
                type=ArgumentType.FLAG,
                default=False,
                help="only the run before the last one of each instance",
            ),
            Argument(name="grep", type=ArgumentType.PATTERN, help="only lines in which this is found"),
            Argument(
                name="invert", type=ArgumentType.FLAG, default=False, help="only lines in which it is not"
            ),
            Argument(
                name="ignore_case",
                type=ArgumentType.FLAG,
                default=False,
                help="take small and capital letters for the same",
            ),
            Argument(name="follow", type=ArgumentType.FLAG, default=False, help="go on as it is written"),
        ),
        help="show what instances wrote, in the order in which it was captured",
        works_degraded=True,
    ),
    Command(
        name="logs-usage",
        role=Role.READ,
        klass=CommandClass.READ,
        help="show what captured output takes on the disk, and what was lost",
        works_degraded=True,
    ),
    Command(
        name="start",
        role=Role.OPERATE,
        klass=CommandClass.RUN,
        takes_targets=TakesTargets.SOME,
        help="have instances running",
    ),
    Command(
        name="stop",
        role=Role.OPERATE,
        klass=CommandClass.RUN,
        takes_targets=TakesTargets.SOME,
        help="have instances stopped, with all that they started",
        works_degraded=True,
    ),
    Command(
        name="restart",
        role=Role.OPERATE,
        klass=CommandClass.RUN,
        takes_targets=TakesTargets.SOME,
        help="replace the processes of instances",
    ),
    Command(
        name="enable",
        role=Role.OPERATE,
        klass=CommandClass.RUN,
        takes_targets=TakesTargets.SOME,
        help="let droned restart instances by itself again",
    ),
    Command(
        name="disable",
        role=Role.OPERATE,
        klass=CommandClass.RUN,
        takes_targets=TakesTargets.SOME,
        help="keep droned from restarting instances by itself",
    ),
    Command(
        name="kill",
        role=Role.OPERATE,
        klass=CommandClass.RUN,
        takes_targets=TakesTargets.SOME,
        arguments=(
            Argument(name="signal", type=ArgumentType.SIGNAL, required=True, help="the signal to send"),
            Argument(
                name="to",
                type=ArgumentType.TEXT,
                default="main",
                choices=SIGNAL_TO,
                help="the main process, its process group, or all that it started",
            ),
        ),
        help="send a signal to instances",
        works_degraded=True,
    ),
    Command(
        name="logs-rotate",
        words="rotate logs",
        role=Role.OPERATE,
        klass=CommandClass.RUN,
        takes_targets=TakesTargets.SOME,
        help="begin a new segment of every stream of instances",
        works_degraded=True,
    ),
    Command(
        name="logs-clear",
        words="clear logs",
        role=Role.ADMIN,
        klass=CommandClass.RUN,
        takes_targets=TakesTargets.SOME,
        help="delete all that was captured of instances",
        works_degraded=True,
    ),
    Command(
        name="scale",
        role=Role.ADMIN,
        klass=CommandClass.DEFINE,
        arguments=(
            Argument(
                name="counts",
                type=ArgumentType.COUNTS,
                required=True,
                most=10_000,
                help="the number of instances of each app",
            ),
        ),
        help="set how many instances apps have",
    ),
    Command(
        name="daemon-status",
        role=Role.READ,
        klass=CommandClass.READ,
        help="show how droned itself is",
        works_degraded=True,
    ),
    Command(
        name="daemon-restart",
        role=Role.ADMIN,
        klass=CommandClass.RUN,
        help="replace the daemon; apps run on",
        works_degraded=True,
    ),
    Command(
        name="daemon-stop",
        role=Role.ADMIN,
        klass=CommandClass.RUN,
        help="end the daemon; apps run on",
        works_degraded=True,
    ),
    Command(
        name="daemon-shutdown",
        role=Role.ADMIN,
        klass=CommandClass.RUN,
        help="stop all apps in order, then droned",
        works_degraded=True,
    ),
    Command(
        name="daemon-reload",
        role=Role.ADMIN,
        klass=CommandClass.DEFINE,
        help="read the configuration again and apply what changed",
    ),
    Command(
        name="daemon-debug",
        role=Role.ADMIN,
        klass=CommandClass.RUN,
        arguments=(
            Argument(
                name="pause_s",
                type=ArgumentType.SECONDS,
                required=True,
                help="keep the guardian from replacing a daemon that hangs, for so long; 0 ends it",
            ),
        ),
        help="make room for a debugger",
        works_degraded=True,
    ),
)

COMMANDS: Mapping[str, Command] = MappingProxyType({row.name: row for row in _ROWS})
"""Every command by its name."""


def find_command(name: str) -> Command:
    """The command of that name; NoSuchTarget with near names when there is none."""
    command = COMMANDS.get(name)
    if command is None:
        near = near_names(name, COMMANDS)
        raise NoSuchTarget(f'cannot find a command "{name}"{hint(near)}', near=list(near))
    return command


def check_arguments(command: Command, given: Mapping[str, object]) -> Mapping[str, object]:
    """Every argument of `command` with its checked value or default, from JSON values.

    BadRequest for one that is unknown (with near names), missing, or not of its type.
    """
    _refuse_unknown(command, given)
    values: dict[str, object] = {}
    for argument in command.arguments:
        if argument.name in given:
            values[argument.name] = check_value(argument, given[argument.name])
        elif argument.required:
            raise BadRequest(
                f"cannot {command.verb} without {argument.name}: {argument.help}", argument=argument.name
            )
        else:
            values[argument.name] = argument.default
    return MappingProxyType(values)


def check_query(command: Command, given: Mapping[str, list[str]]) -> Mapping[str, object]:
    """The same from the texts of a query; `target` is allowed where the command takes targets."""
    takes_targets = command.takes_targets is not TakesTargets.NONE
    rest = {name: texts for name, texts in given.items() if not (takes_targets and name == "target")}
    _refuse_unknown(command, rest)
    values = {argument.name: argument.default for argument in command.arguments}
    for argument in command.arguments:
        if argument.name in rest:
            values[argument.name] = check_text(argument, rest[argument.name])
    return MappingProxyType(values)


def _refuse_unknown(command: Command, given: Mapping[str, object]) -> None:
    known = [argument.name for argument in command.arguments]
    for name in given:
        if name not in known:
            near = near_names(name, known)
            raise BadRequest(
                f'cannot take "{name[:64]}" with {command.name}: there is no such argument{hint(near)}',
                argument=name[:64],
                near=list(near),
            )
