"""The one table of keys: what a configuration can say, where it goes and what it means.

Checking, near-name hints and the reference in the documentation are all drawn
from here. To add a key: a row here, its field and default in
`models/policy.py`, a row in tests/config/test_keys.py, the table that
tests/config/test_reference.py then asks for in docs/configuration.rst, and its
name out of `LATER`. The `default` is the value of `models/policy.py` as YAML would have
it; a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from droned.config import kinds
from droned.config.daemon_schema import DAEMON_KEYS
from droned.config.key import Key
from droned.models.policy import Leftovers, LogFormat, RestartWhen, SignalTo, StderrTo, WhenFull

LAUNCH_KEYS = (
    Key(
        name="command",
        field="command",
        kind=kinds.COMMAND,
        is_required=True,
        help="The program and its arguments. A text is split into words as a shell does; no shell is run.",
    ),
    Key(
        name="directory",
        field="directory",
        kind=kinds.FOLDER,
        help="The folder it runs in; droned's own when it is not given.",
    ),
    Key(
        name="user",
        field="user",
        kind=kinds.IDENTITY,
        help="Who it runs as; droned's own user when it is not given.",
    ),
    Key(
        name="group",
        field="group",
        kind=kinds.IDENTITY,
        help="Its group; that of the user when it is not given.",
    ),
    Key(
        name="groups",
        field="groups",
        kind=kinds.IDENTITIES,
        help="Its further groups; those of the user when they are not given, none for ``[]``.",
    ),
    Key(
        name="env",
        field="env",
        kind=kinds.ENVIRONMENT,
        help="Environment variables, beside the few that every app gets.",
    ),
    Key(
        name="umask",
        field="umask",
        kind=kinds.UMASK,
        help='Permissions that new files do not get, in octal: ``"027"``.',
    ),
    Key(
        name="limits",
        field="limits",
        kind=kinds.LIMITS,
        help="Resource limits: ``nofile: 4096``, ``core: unlimited``, ``as: [1G, 2G]``.",
    ),
    Key(
        name="nice",
        field="nice",
        kind=kinds.of_whole(-20, 19),
        help="Its place among others that want the processor; less is first.",
    ),
    Key(
        name="oom_score_adj",
        field="oom_score_adj",
        kind=kinds.of_whole(-1000, 1000),
        help="How readily the kernel ends it when memory is short; more is sooner.",
    ),
    Key(
        name="no_new_privs",
        field="no_new_privs",
        kind=kinds.BOOLEAN,
        default="false",
        help="It and its children can gain no privileges: set-uid programs run as the caller.",
    ),
)
"""Keys of an app that make its `Launch`."""

RESTART_KEYS = (
    Key(
        name="policy",
        field="policy",
        kind=kinds.of_words(RestartWhen),
        default="on-failure",
        help="When an instance that ended by itself is started again.",
    ),
    Key(
        name="delay",
        field="delay_s",
        kind=kinds.DURATION,
        default="500ms",
        help="The wait before a restart after a short run; it doubles each time. ``0s`` is always at once.",
    ),
    Key(
        name="max_delay",
        field="max_delay_s",
        kind=kinds.DURATION,
        default="30s",
        help="The longest such wait.",
    ),
    Key(
        name="jitter",
        field="jitter",
        kind=kinds.of_share(0, 1),
        default="0.25",
        help="The share by which a wait is moved either way, so that not all come back in one moment.",
    ),
    Key(
        name="reset_after",
        field="reset_after_s",
        kind=kinds.DURATION,
        default="30s",
        help="A run of at least this long is forgiven what came before; its restart is at once.",
    ),
    Key(
        name="limit",
        field="limit",
        kind=kinds.LIMIT_OR_NEVER,
        default="10 in 10m",
        help="More restarts than this and the instance has failed.",
    ),
    Key(
        name="retry_failed_after",
        field="retry_failed_after_s",
        kind=kinds.DURATION_OR_NEVER,
        default="5m",
        help="A failed instance is tried again after this long.",
    ),
    Key(
        name="success_exit",
        field="success_exit",
        kind=kinds.EXIT_CODES,
        default="[0]",
        help="Exit codes that are no failure.",
    ),
    Key(
        name="permanent_exit",
        field="permanent_exit",
        kind=kinds.EXIT_CODES,
        default="[]",
        help="Exit codes after which a restart would be of no use: the instance has failed.",
    ),
)

STOP_KEYS = (
    Key(name="signal", field="signal", kind=kinds.SIGNAL, is_required=True, help="The signal that is sent."),
    Key(
        name="to",
        field="to",
        kind=kinds.of_words(SignalTo),
        is_required=True,
        help="Whom it goes to: the main process, its process group, or all that it started.",
    ),
    Key(
        name="for",
        field="for_s",
        kind=kinds.DURATION,
        help="How long the step is given; every step but the last has it.",
    ),
)

START_KEYS = (
    Key(
        name="grace",
        field="grace_s",
        kind=kinds.DURATION,
        default="1s",
        help="How long the process stays up before it counts as running.",
    ),
)

LOG_KEYS = (
    Key(
        name="format",
        field="format",
        kind=kinds.of_words(LogFormat),
        default="raw",
        help="How captured lines are written to a file beside the segments; ``raw`` needs none.",
    ),
    Key(
        name="stderr",
        field="stderr",
        kind=kinds.of_words(StderrTo),
        default="apart",
        help="Whether stderr is a stream of its own, or one with stdout; a change needs a new process.",
    ),
    Key(
        name="max_size",
        field="max_size_bytes",
        kind=kinds.of_size(64 * 1024),
        default="50M",
        help="The size at which a stream goes on in a new segment.",
    ),
    Key(
        name="keep",
        field="keep",
        kind=kinds.of_whole(0, 10_000),
        default="5",
        help="How many segments of a stream are kept beside the one that is written.",
    ),
    Key(
        name="max_age",
        field="max_age_s",
        kind=kinds.POSITIVE_DURATION_OR_NEVER,
        default="30d",
        help="Segments older than this are deleted, however few there are.",
    ),
    Key(
        name="compress",
        field="compress",
        kind=kinds.BOOLEAN,
        default="true",
        help="Whether segments that are done with are compressed.",
    ),
    Key(
        name="when_full",
        field="when_full",
        kind=kinds.of_words(WhenFull),
        default="drop",
        help="When no file takes it, output is dropped and counted, or the program waits.",
    ),
    Key(
        name="direct",
        field="direct",
        kind=kinds.BOOLEAN,
        default="false",
        help="Straight to one file a stream: not captured, cut or searched; a change needs a new process.",
    ),
)

LEFTOVERS_KEY = Key(
    name="leftovers",
    field="leftovers",
    kind=kinds.of_words(Leftovers),
    default="stop",
    help="What happens to the rest of the tree when the main process ends by itself.",
)

LIFE_KEYS = (
    Key(name="restart", field="restart", keys=RESTART_KEYS, help="When and how soon it is started again."),
    Key(name="start", field="start", keys=START_KEYS, help="What counts as started."),
    Key(
        name="stop",
        field="stop",
        keys=STOP_KEYS,
        is_list=True,
        default="[{signal: TERM, to: main, for: 10s}, {signal: TERM, to: tree, for: 2s},"
        " {signal: KILL, to: tree}]",
        help="The steps of a stop; the last one is ``{signal: KILL, to: tree}``.",
    ),
    LEFTOVERS_KEY,
    Key(name="logs", field="logs", keys=LOG_KEYS, help="What becomes of its output."),
)
"""Keys of an app that say how it lives."""

INSTANCES_KEY = Key(
    name="instances",
    field="labels",
    kind=kinds.INSTANCES,
    default="1",
    help="How many copies run, labelled 0, 1, 2 …, or a list of their labels.",
)

APP_KEYS = (LAUNCH_KEYS[0], INSTANCES_KEY, *LAUNCH_KEYS[1:], *LIFE_KEYS)
DEFAULT_KEYS = (*LAUNCH_KEYS[1:], *LIFE_KEYS)

CONFIGURATION = Key(
    name="",
    help="A whole configuration.",
    keys=(
        Key(
            name="version",
            kind=kinds.VERSION,
            is_required=True,
            help="The version of this format; at least one of the files says it.",
        ),
        Key(name="defaults", keys=DEFAULT_KEYS, help="What apps have that do not say it themselves."),
        Key(name="apps", keys=APP_KEYS, is_named=True, help="The apps, by name."),
        Key(name="droned", keys=DAEMON_KEYS, help="droned itself."),
    ),
)
"""The root of the table."""

_APP_LATER = frozenset(
    (
        *("ready", "alive", "startup", "needs", "wants", "after", "bind", "type", "schedule", "every"),
        *("timezone", "overlap", "catch_up", "jitter", "reload", "batch", "max_unavailable"),
        *("env_file", "extends", "labels", "secret", "secrets", "release", "max_memory", "memory", "cpu"),
        *("pids", "capabilities", "sockets", "reuse_port", "strategy"),
    )
)

LATER: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "": frozenset(("include", "servers", "environments", "releases", "secrets", "groups")),
        "apps": _APP_LATER,
        "defaults": _APP_LATER,
        "restart": frozenset(("strategy",)),
        "start": frozenset(("timeout",)),
        "droned": frozenset(("max_unavailable",)),
    }
)
"""Keys of later releases by the name of what they stand in: refused by name, never accepted and ignored."""


def walk(above: Key = CONFIGURATION, path: str = "") -> Iterator[tuple[str, Key]]:
    """Every key below one with its path, in the order of the table: `apps.NAME.stop[].to`."""
    for key in above.keys:
        own = f"{path}{key.name}"
        yield own, key
        tail = ".NAME." if key.is_named else "[]." if key.is_list else "."
        yield from walk(key, own + tail)
