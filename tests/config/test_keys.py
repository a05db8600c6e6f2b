"""Every key of the table: what it takes, what that becomes, and what it refuses."""

from collections.abc import Callable
from types import MappingProxyType
from typing import Any

import pytest

from droned.config.key import Key
from droned.config.schema import LATER, walk
from droned.models.daemon_log import Level, OwnLogFormat, OwnLogTo
from droned.models.policy import (
    AppSpec,
    Configuration,
    DaemonSettings,
    Leftovers,
    LogFormat,
    ResourceLimit,
    RestartLimit,
    RestartWhen,
    SignalTo,
    StartBudget,
    StderrTo,
    StopStep,
    WhenFull,
)
from droned.models.sinks import Address, Sink, SinkKind
from tests.config.loading import app, loaded, one_app, problem, problems

KILL = "{signal: KILL, to: tree}"
LONGEST = 131_071


def limit(name: str, soft: int | None, hard: int | None) -> tuple[ResourceLimit, ...]:
    return (ResourceLimit(name=name, soft=soft, hard=hard),)


# Of an app: the key's path, a value, and what `read` (below) then finds.
TAKEN: list[tuple[str, str, Any]] = [
    ("command", "[gunicorn, 'app:app', 8, '']", ("gunicorn", "app:app", "8", "")),
    ("command", "gunicorn 'app:app' --bind \"a b\"", ("gunicorn", "app:app", "--bind", "a b")),
    ("command", "[sh, -c, 'echo $HOME $$5']", ("sh", "-c", "echo $$HOME $$5")),
    ("command", "'\"yes\"'", ("yes",)),
    ("instances", "0", ()),
    ("instances", "3", ("0", "1", "2")),
    ("instances", "10000", tuple(map(str, range(10_000)))),
    ("instances", "[blue, green, 7]", ("blue", "green", "7")),
    ("instances", "[]", ()),
    ("instances", '"${COUNT}"', ("0", "1")),
    ("instances", "${COUNT}", ("0", "1")),
    ("directory", "/srv/web", "/srv/web"),
    ("directory", '"/srv/${DRONED_LABEL}"', "/srv/${DRONED_LABEL}"),
    ("user", "www-data", "www-data"),
    ("user", "1000", 1000),
    ("user", "'1000'", "1000"),
    ("user", '"${COUNT}"', 2),
    ("user", "0", 0),
    ("group", "www", "www"),
    ("group", "4294967294", 4_294_967_294),
    ("groups", "[adm, 4]", ("adm", 4)),
    ("groups", "[]", ()),
    ("env", "{A: x, PORT: 8080, V: 1.10, T: 12:30:45, Z: 010}", None),
    ("env", "{}", {}),
    ("umask", "'027'", 0o27),
    ("umask", "0027", 0o27),
    ("umask", "0o22", 0o22),
    ("limits", "{nofile: 4096}", limit("nofile", 4096, 4096)),
    ("limits", "{as: [1G, 2G]}", limit("as", 1 << 30, 2 << 30)),
    ("limits", "{core: unlimited}", limit("core", None, None)),
    ("limits", "{nofile: [5, unlimited]}", limit("nofile", 5, None)),
    ("limits", "{}", ()),
    ("nice", "-20", -20),
    ("nice", "19", 19),
    ("oom_score_adj", "-1000", -1000),
    ("oom_score_adj", "1000", 1000),
    ("no_new_privs", "true", True),
    ("no_new_privs", "false", False),
    ("restart.policy", "always", RestartWhen.ALWAYS),
    ("restart.policy", "on-failure", RestartWhen.ON_FAILURE),
    ("restart.policy", "on-success", RestartWhen.ON_SUCCESS),
    ("restart.policy", "never", RestartWhen.NEVER),
    ("restart.delay", "0s", 0.0),
    ("restart.delay", "250ms", 0.25),
    ("restart.max_delay", "5m", 300.0),
    ("restart.jitter", "0", 0.0),
    ("restart.jitter", "1", 1.0),
    ("restart.reset_after", "1m", 60.0),
    ("restart.limit", "3 in 1m", RestartLimit(count=3, within_s=60.0)),
    ("restart.limit", "never", None),
    ("restart.retry_failed_after", "1h", 3600.0),
    ("restart.retry_failed_after", "never", None),
    ("restart.success_exit", "[0, 2, 2]", (0, 2)),
    ("restart.permanent_exit", "[3, 255]", (3, 255)),
    ("start.grace", "0s", 0.0),
    ("stop", f"[{KILL}]", (StopStep(signal=9, to=SignalTo.TREE, for_s=None),)),
    (
        "stop",
        f"[{{signal: SIGINT, to: group, for: 1.5s}}, {{signal: 12, to: main, for: 0s}}, {KILL}]",
        (
            StopStep(signal=2, to=SignalTo.GROUP, for_s=1.5),
            StopStep(signal=12, to=SignalTo.MAIN, for_s=0.0),
            StopStep(signal=9, to=SignalTo.TREE, for_s=None),
        ),
    ),
    ("leftovers", "keep", Leftovers.KEEP),
    ("leftovers", "stop", Leftovers.STOP),
    ("logs.format", "raw", LogFormat.RAW),
    ("logs.format", "stamped", LogFormat.STAMPED),
    ("logs.format", "json", LogFormat.JSON),
    ("logs.stderr", "apart", StderrTo.APART),
    ("logs.stderr", "merged", StderrTo.MERGED),
    ("logs.max_size", "64K", 65_536),
    ("logs.max_size", "2G", 2 << 30),
    ("logs.max_size", "'${SIZE:-512M}'", 512 << 20),
    ("logs.keep", "0", 0),
    ("logs.keep", "10000", 10_000),
    ("logs.max_age", "1d12h", 129_600.0),
    ("logs.max_age", "never", None),
    ("logs.compress", "false", False),
    ("logs.compress", "true", True),
    ("logs.when_full", "drop", WhenFull.DROP),
    ("logs.when_full", "block", WhenFull.BLOCK),
    ("logs.direct", "true", True),
    ("logs.direct", "false", False),
]

# The same of droned itself.
TAKEN_BY_DRONED: list[tuple[str, str, Any]] = [
    ("socket", "/run/droned/droned.sock", "/run/droned/droned.sock"),
    ("socket", "/" + "x" * 106, "/" + "x" * 106),
    ("start_budget", "off", None),
    ("start_budget", "{}", StartBudget()),
    ("start_budget", "{burst: 10, per_second: 0.5}", StartBudget(burst=10, per_second=0.5)),
    ("start_budget.burst", "1", 1),
    ("start_budget.per_second", "7", 7.0),
    ("journal.keep", "1h", 3600.0),
    ("logs.total", "1M", 1 << 20),
    ("logs.total", "20G", 20 << 30),
    ("logs.total", "off", None),
    ("forward", "[]", ()),
    (
        "forward",
        "[{syslog: 'unix:///dev/log'}]",
        (Sink(name="syslog-dev-log", kind=SinkKind.SYSLOG, address=Address(scheme="unix", path="/dev/log")),),
    ),
    ("log.format", "json", OwnLogFormat.JSON),
    ("log.to", "file", OwnLogTo.FILE),
    ("log.level", "debug", Level.DEBUG),
    (
        "log.levels",
        "{api: debug, stall-watch: error}",
        MappingProxyType({"api": Level.DEBUG, "stall-watch": Level.ERROR}),
    ),
]

REFUSED: list[tuple[str, list[str]]] = [
    (
        "command",
        ["[]", "''", "['']", "", "~", "yes", "{a: b}", "[[a]]", "[a, no]", "[a, ~]", "'it is ''open'"],
    ),
    ("command", ['"a\\0b"', '["a\\0b"]', "[x, '${MISSING}']", "'${'", f"[{'x' * (LONGEST + 1)}]"]),
    ("instances", ["-1", "10001", "1.5", "010", "'2'", "two", "true", "", "{}", "1e3", "0x2", "1_0"]),
    (
        "instances",
        ["[a, a]", "[A]", "[a/b]", "['']", "[..]", "[on]", "['${DRONED_LABEL}']", "[[a]]", "${DRONED_APP}"],
    ),
    ("directory", ["srv", "~", "''", "~/web", "'${DRONED_APP}'", "[/srv]", '"/a\\0"', ""]),
    ("user", ["-1", "4294967295", "''", "a:b", "a b", "a/b", "no", "", "[x]", '"a\\n"']),
    ("group", ["-1", "4294967295", "''"]),
    ("groups", ["adm", "[a, '']", "[-1]", "[[a]]", "", "{a: b}"]),
    (
        "env",
        [
            "[A]",
            "A=1",
            "",
            "{A: }",
            "{A: yes}",
            "{A: true}",
            "{A: ~}",
            "{A: [x]}",
            "{A: {b: c}}",
            "{'A=B': x}",
        ],
    ),
    ("env", ["{'': x}", "{1A: x}", '{"A\\0": x}', '{A: "\\0"}', "{DRONED_APP: x}", "{DRONED_RUN: x}"]),
    (
        "env",
        ["{A: '${MISSING}'}", "{A: '${COUNT:?}${'}", "{A: {secret: {file: /x}}}", f"{{A: {'€' * 50_000}}}"],
    ),
    ("umask", ["27", "0o", "01000", "'27'", "-1", "", "u=rwx", "[022]", "'${DRONED_LABEL}'"]),
    (
        "limits",
        ["[1]", "4096", "{nofil: 1}", "{nofile: -1}", "{nofile: }", "{nofile: [1]}", "{nofile: [1, 2, 3]}"],
    ),
    (
        "limits",
        ["{nofile: [2, 1]}", "{nofile: [unlimited, 1]}", "{as: 1.5G}", "{NOFILE: 1}", "{nofile: {a: 1}}"],
    ),
    ("nice", ["-21", "20", "'5'", "5.0", "high", "", "[1]"]),
    ("oom_score_adj", ["-1001", "1001", "''"]),
    ("no_new_privs", ["yes", "no", "on", "off", "True", "1", "'true'", "", "[true]"]),
    ("restart", ["always", "[]", "", "true"]),
    ("restart.policy", ["sometimes", "Always", "", "true", "[always]", "'${DRONED_LABEL}'"]),
    ("restart.delay", ["5", "-1s", "", "fast", "[1s]", "off", "never"]),
    ("restart.max_delay", ["30", "100ms"]),
    ("restart.jitter", ["1.1", "-0.1", "25%", "'0.25'", ""]),
    ("restart.reset_after", ["30"]),
    ("restart.limit", ["10", "0 in 1m", "10 in 0s", "10 in", "off", "", "{count: 1}"]),
    ("restart.retry_failed_after", ["5", "off", ""]),
    ("restart.success_exit", ["0", "[256]", "[-1]", "['0']", "[SIGTERM]", ""]),
    ("restart.permanent_exit", ["[0]", "[x]"]),
    ("start", ["1s", "[]", ""]),
    ("start.grace", ["1", "never", "-1s"]),
    ("stop", ["", "{}", "TERM", "[]", "[TERM]", "[{signal: TERM, to: main, for: 1s}]", f"[{KILL}, {KILL}]"]),
    (
        "stop",
        ["[{signal: KILL, to: main}]", "[{signal: KILL, to: tree, for: 1s}]", "[{signal: KILL}]", "[{}]"],
    ),
    ("stop", [f"[{{signal: TERM, to: main}}, {KILL}]", f"[{{to: main, for: 1s}}, {KILL}]"]),
    (
        "stop",
        [f"[{{signal: TRM, to: main, for: 1s}}, {KILL}]", f"[{{signal: TERM, to: all, for: 1s}}, {KILL}]"],
    ),
    (
        "stop",
        [
            f"[{{signal: TERM, to: main, for: 1}}, {KILL}]",
            f"[{{signal: TERM, to: main, for: 1s, x: 1}}, {KILL}]",
        ],
    ),
    ("stop", [f"[{('{signal: TERM, to: main, for: 1s}, ' * 16)}{KILL}]"]),
    ("leftovers", ["kill", "true", "", "[keep]"]),
    ("logs", ["raw", "[]", "", "{max_sise: 1M}"]),
    ("logs.format", ["text", "Raw", "", "[raw]"]),
    ("logs.stderr", ["together", "true", ""]),
    ("logs.max_size", ["0", "65535", "63K", "1.5G", "64k", "-1M", "never", "", "9E", "99999999999T"]),
    ("logs.keep", ["-1", "10001", "'5'", "all", ""]),
    ("logs.max_age", ["0s", "30", "off", "-1d", ""]),
    ("logs.compress", ["gzip", "yes", ""]),
    ("logs.when_full", ["wait", "", "true"]),
    ("logs.direct", ["yes", "1", ""]),
]

REFUSED_BY_DRONED: list[tuple[str, list[str]]] = [
    (
        "socket",
        ["run/x", "/", "/x/", "", "~", f"/{'x' * 107}", f"/{'€' * 36}", "'/${DRONED_APP}'", '"/\\0"', "[/x]"],
    ),
    ("start_budget", ["on", "never", "false", "300", "", "[]"]),
    ("start_budget.burst", ["0", "-1", "1000001", "1.5"]),
    ("start_budget.per_second", ["0", "-1", "0.001", "x"]),
    ("journal", ["90d", ""]),
    ("journal.keep", ["0s", "90", "never", ""]),
    ("logs", ["2G", "off", ""]),
    ("logs.total", ["0", "1023K", "never", "2g", ""]),
    ("forward", ["udp://h:514", "{syslog: x}", "", "[x]", "[{}]", "[{name: x}]"]),
    ("log", ["json", "[]", ""]),
    ("log.format", ["jsn", "", "[text]"]),
    ("log.to", ["stderr", "/var/log/droned.log", ""]),
    ("log.level", ["warning", "INFO", "5", ""]),
    ("log.levels", ["debug", "[api]", "{apis: debug}", "{api: loud}", "{api: }", "{droned.web: info}"]),
]


def text_of(section: str, path: str, value: str) -> str:
    """A configuration with one key set, below `apps.web` or `droned`."""
    *groups, name = path.split(".")
    for group in reversed(groups):
        value, name = f"{{{name}: {value}}}", group
    if section == "droned":
        return f"version: 1\ndroned:\n    {name}: {value}\n"
    if name == "command":
        return f"version: 1\napps:\n  web:\n    command: {value}\n"
    return one_app(f"{name}: {value}")


def found(made: Configuration, section: str, path: str) -> Any:
    """What a configuration has at the place of a key, found by the table's own field names."""
    place: Any = made.settings if section == "droned" else made.apps["web"]
    prefix = "droned." if section == "droned" else "apps.NAME."
    keys = dict(walk())
    step = prefix.rstrip(".")
    for name in path.split("."):
        step = f"{step}.{name}"
        field = keys[step].field
        place = getattr(
            place.launch if hasattr(place, "launch") and not hasattr(place, field) else place, field
        )
    return place


@pytest.mark.parametrize(
    ("section", "path", "value", "meaning"),
    [("apps", *row) for row in TAKEN] + [("droned", *row) for row in TAKEN_BY_DRONED],
)
def test_key_takes(section: str, path: str, value: str, meaning: Any) -> None:
    value_found = found(loaded(text_of(section, path, value), environ={"COUNT": "2"}), section, path)
    if path == "env" and meaning is None:
        meaning = {"A": "x", "PORT": "8080", "V": "1.10", "T": "12:30:45", "Z": "010"}
    assert value_found == meaning
    assert type(value_found) is type(meaning) or path == "env"


@pytest.mark.parametrize(
    ("section", "path", "value"),
    [("apps", path, value) for path, refused in REFUSED for value in refused]
    + [("droned", path, value) for path, refused in REFUSED_BY_DRONED for value in refused],
)
def test_key_refuses(section: str, path: str, value: str) -> None:
    for line in problems(text_of(section, path, value), environ={"COUNT": "2"}):
        where, _, said = line.partition(": ")
        assert where.split(":")[0] == "droned.yaml"
        assert all(int(number) > 0 for number in where.split(":")[1:])
        assert said.startswith(("cannot ", "unknown key "))
        assert "as YAML" not in said
        assert "\n" not in line
        assert len(line) < 500


def test_every_key_has_its_rows() -> None:
    paths = {path for path, key in walk() if key.kind or key.is_list}
    below = {path.removeprefix("apps.NAME.") for path in paths if path.startswith("apps.NAME.")}
    own = {path.removeprefix("droned.") for path in paths if path.startswith("droned.")}
    own = {path for path in own if "[]" not in path}  # of sinks: tests/config/test_sinks.py
    steps = {"stop[].signal", "stop[].to", "stop[].for"}
    assert below - steps == {path for path, _, _ in TAKEN}
    assert below - steps <= {path for path, _ in REFUSED}
    assert own <= {path for path, _, _ in TAKEN_BY_DRONED}
    assert own <= {path for path, _ in REFUSED_BY_DRONED}


@pytest.mark.parametrize(("path", "key"), [row for row in walk() if row[1].default and "[]." not in row[0]])
def test_default_in_the_table_is_the_default(path: str, key: Key) -> None:
    """The table has it as YAML, `models/policy.py` as a value: writing it changes nothing."""
    if path.startswith("droned."):
        told = loaded(text_of("droned", path.removeprefix("droned."), key.default)).settings
        assert told == DaemonSettings()
    else:
        name = path.removeprefix("apps.NAME.").removeprefix("defaults.")
        told_app = loaded(text_of("apps", name, key.default)).apps["web"]
        assert told_app == AppSpec(name="web", launch=app().launch, origin=told_app.origin)


def later(prefix: str) -> list[str]:
    return sorted(LATER[prefix])


@pytest.mark.parametrize(
    ("text", "key"),
    [
        *[(lambda key: f"version: 1\n{key}: {{}}\n", key) for key in later("")],
        *[(lambda key: one_app(f"{key}: {{}}"), key) for key in later("apps")],
        *[(lambda key: f"version: 1\ndefaults: {{{key}: 1}}\n", key) for key in later("defaults")],
        *[(lambda key: one_app(f"restart: {{{key}: 1}}"), key) for key in later("restart")],
        *[(lambda key: one_app(f"start: {{{key}: 60s}}"), key) for key in later("start")],
        *[(lambda key: f"version: 1\ndroned: {{{key}: {{}}}}\n", key) for key in later("droned")],
    ],
)
def test_key_comes_later(text: Callable[[str], str], key: str) -> None:
    said = problem(text(key))
    assert f"cannot use the key {key}" in said
    assert "comes later" in said


def test_no_key_is_here_and_comes_later() -> None:
    for section, names in LATER.items():
        prefix = {
            "": "",
            "apps": "apps.NAME.",
            "restart": "apps.NAME.restart.",
            "start": "apps.NAME.start.",
        }.get(section, f"{section}.")
        assert not {path for path, _ in walk()} & {f"{prefix}{name}" for name in names}
