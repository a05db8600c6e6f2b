"""One good configuration and what becomes of it when one thing in it is wrong: place and words of it."""

import pytest

from droned.config import load
from droned.config.nodes import LONGEST_SHOWN, MOST_PROBLEMS
from droned.errors import ConfigurationError
from tests.config.loading import loaded, problem, problems

GOOD = """\
version: 1
defaults:
  restart: {policy: on-failure, delay: 500ms}
apps:
  web:
    command: [gunicorn, "app:app"]
    directory: /srv/web
    user: www-data
    env:
      PORT: "8000"
    umask: "027"
    limits: {nofile: 4096}
    nice: 5
    no_new_privs: true
    instances: 2
    restart: {policy: always, max_delay: 10s, limit: 5 in 1m}
    start: {grace: 1s}
    stop:
      - {signal: TERM, to: main, for: 10s}
      - {signal: KILL, to: tree}
    leftovers: keep
  db:
    command: postgres -D /srv/db
droned:
  socket: /run/droned/droned.sock
  start_budget: {burst: 300, per_second: 50}
  journal: {keep: 90d}
"""

MUTANTS: list[tuple[str, str, str]] = [
    ("version: 1", "version: 2", "1:10: cannot use 2 for version: this release reads version 1"),
    ("version: 1", "version: '1'", '1:10: cannot use "1" for version: it is written without quotes'),
    (
        "version: 1",
        "# none",
        "1:1: cannot use a configuration without its version: it begins with version: 1",
    ),
    ("version: 1", "versoin: 1", '1:1: unknown key "versoin" (did you mean "version"?)'),
    ("defaults:", "default:", '2:1: unknown key "default" (did you mean "defaults"?)'),
    ("delay: 500ms", "delay: 500", "3:40: cannot use 500 for defaults.restart.delay: a duration has a unit"),
    ("delay: 500ms", "dealy: 1s", '3:33: unknown key "dealy" in defaults.restart (did you mean "delay"?)'),
    ("delay: 500ms", "delay: 20s", "16:42: cannot use a restart.delay of 20s with a max_delay of 10s"),
    ("apps:", "app:", '4:1: unknown key "app" (did you mean "apps"?)'),
    ("  web:", "  Web:", '5:3: cannot use "Web" as a name in apps: it has 1 to 64 of a-z'),
    ("  web:", "  droned:", '5:3: cannot use "droned" as a name in apps: that is droned'),
    ("  web:", "  ../web:", '5:3: cannot use "../web" as a name in apps'),
    ("  web:", "  -rf:", '5:3: cannot use "-rf" as a name in apps'),
    ("  web:", '  "w\\u0435b":', '5:3: cannot use "wеb" as a name in apps'),
    ("  web:", '  "a\\u202eb":', '5:3: cannot use "a\\u202eb" as a name in apps'),
    ("  db:", "  web:", '22:3: cannot have the key "web" twice: it is at droned.yaml:5:3 as well'),
    (
        'command: [gunicorn, "app:app"]',
        "comand: [x]",
        '6:5: unknown key "comand" in apps.web (did you mean "command"?)',
    ),
    (
        'command: [gunicorn, "app:app"]',
        "command: []",
        "6:14: cannot use a list for apps.web.command: it is a program",
    ),
    (
        '"app:app"',
        "no",
        "6:25: cannot use no for apps.web.command: it is a text, and YAML may take this for something",
    ),
    (
        "directory: /srv/web",
        "directory: srv/web",
        "7:16: cannot use srv/web for apps.web.directory: it is a path",
    ),
    ("directory: /srv/web", "dir: /srv", '7:5: unknown key "dir" in apps.web'),
    ("user: www-data", "user:", "8:10: cannot use nothing for apps.web.user: it is a text"),
    (
        'PORT: "8000"',
        "PORT: on",
        "10:13: cannot use on for apps.web.env.PORT: it is a text, and YAML may take this",
    ),
    ('PORT: "8000"', "PORT: [1]", "10:13: cannot use a list for apps.web.env.PORT: it is one value"),
    (
        'PORT: "8000"',
        "'P=1': x",
        '10:7: cannot use "P=1" as a name in apps.web.env: a variable\'s name has letters',
    ),
    (
        'PORT: "8000"',
        "PORT: ${PORT}",
        "10:13: cannot use ${PORT} for apps.web.env.PORT: ${PORT} is not set; a default",
    ),
    ('umask: "027"', "umask: 27", "11:12: cannot use 27 for apps.web.umask: it is octal with a leading zero"),
    (
        "nofile: 4096",
        "nofil: 1",
        '12:14: cannot use "nofil" as a name in apps.web.limits: the limits are as, core',
    ),
    (
        "nofile: 4096",
        "nofile: [2, 1]",
        "12:22: cannot use a list for apps.web.limits.nofile: its soft bound is above",
    ),
    ("nice: 5", "nice: 20", "13:11: cannot use 20 for apps.web.nice: it is a whole number from -20 to 19"),
    (
        "nice: 5",
        "nice: 05",
        "13:11: cannot use 05 for apps.web.nice: it is a whole number from -20 to 19 without",
    ),
    (
        "no_new_privs: true",
        "no_new_privs: yes",
        "14:19: cannot use yes for apps.web.no_new_privs: it is true or false",
    ),
    (
        "instances: 2",
        "instances: 10001",
        "15:16: cannot use 10001 for apps.web.instances: it is a whole number from 0",
    ),
    ("instances: 2", "instances: [a, a]", "15:16: cannot use a list for apps.web.instances: the label"),
    ("instances: 2", "ready: {tcp: 80}", "15:5: cannot use the key ready in apps.web: it comes later"),
    ("instances: 2", "max_delay: 5s", '15:5: unknown key "max_delay" in apps.web (it stands in restart)'),
    (
        "policy: always",
        "policy: alway",
        "16:23: cannot use alway for apps.web.restart.policy: it is one of always,",
    ),
    ("5 in 1m", "5 per 1m", '16:54: cannot use 5 per 1m for apps.web.restart.limit: it is "10 in 10m"'),
    ("grace: 1s", "timeout: 60s", "17:13: cannot use the key timeout in apps.web.start: it comes later"),
    (
        "signal: TERM",
        "signal: TRM",
        "19:18: cannot use TRM for apps.web.stop[0].signal: it is a signal such as TERM",
    ),
    (", for: 10s", "", "19:9: cannot use a step of stop without for"),
    (
        "signal: KILL, to: tree",
        "signal: INT, to: tree",
        "20:9: cannot end a stop with anything but {signal: KILL, to: tree}",
    ),
    (
        "leftovers: keep",
        "leftovers: kept",
        "21:16: cannot use kept for apps.web.leftovers: it is one of stop, keep (did",
    ),
    (
        "-D /srv/db",
        "'/srv",
        "23:14: cannot use postgres '/srv for apps.db.command: cannot split it into words",
    ),
    (
        "socket: /run/droned/droned.sock",
        "socket: droned.sock",
        "25:11: cannot use droned.sock for droned.socket: it is a",
    ),
    (
        "{burst: 300, per_second: 50}",
        "none",
        "26:17: cannot use none for droned.start_budget: it is a mapping of burst",
    ),
    ("keep: 90d", "keep: 90", "27:19: cannot use 90 for droned.journal.keep: a duration has a unit"),
    ("journal: {keep: 90d}", "logs: {totl: 2G}", '27:10: unknown key "totl" in droned.logs'),
    ("journal: {keep: 90d}", "journal: {keep: 90d", "28:1: cannot read this as YAML"),
]


def test_the_good_one_is_good() -> None:
    assert list(loaded(GOOD).apps) == ["web", "db"]


@pytest.mark.parametrize(("old", "new", "expected"), MUTANTS)
def test_mutant_is_refused(old: str, new: str, expected: str) -> None:
    assert old in GOOD
    found = problems(GOOD.replace(old, new, 1))
    assert any(line.startswith(f"droned.yaml:{expected}") for line in found), found
    # One fault is one problem; only a key that was misspelt is also missing.
    assert len(found) == 1 or "unknown key" in "".join(found)


def test_all_problems_are_told_in_the_order_of_the_file() -> None:
    text = GOOD.replace("nice: 5", "nice: 50").replace("500ms", "500").replace("keep: 90d", "kep: 1")
    assert [line.split(": ")[0] for line in problems(text)] == [
        *("droned.yaml:3:40", "droned.yaml:13:11", "droned.yaml:27:13")
    ]


def test_an_app_needs_a_command() -> None:
    assert problem("version: 1\napps:\n  web: {nice: 1}\n") == (
        "droned.yaml:3:3: cannot run the app web: it has no command"
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("version: 1\napps:\n", "2:6: cannot use nothing for apps: it is a mapping of names; none is {}"),
        ("version: 1\napps: [web]\n", "2:7: cannot use a list for apps: it is a mapping of names"),
        ("version: 1\napps: {web: }\n", "2:13: cannot use nothing for apps.web: it is a mapping of command"),
        (
            "version: 1\napps: {web: gunicorn}\n",
            "2:13: cannot use gunicorn for apps.web: it is a mapping of command",
        ),
        ("version: 1\ndefaults:\n", "2:10: cannot use nothing for defaults: it is a mapping of directory"),
        ("version: 1\ndroned: off\n", "2:9: cannot use off for droned: it is a mapping of socket"),
    ],
)
def test_shapes_are_told(text: str, expected: str) -> None:
    assert any(line.startswith(f"droned.yaml:{expected}") for line in problems(text)), problems(text)


@pytest.mark.parametrize("text", ["[]", "web", "1", "''", "~"])
def test_a_configuration_is_a_mapping(text: str) -> None:
    assert "for a configuration: it is a mapping of version, defaults, apps, droned" in problems(text)[0]


def test_long_and_unprintable_values_are_shown_safely() -> None:
    said = problem('version: 1\ndroned: {socket: "x\\e[31m\\u202e\\n' + "y" * 500 + '"}')
    assert "x\\x1b[31m\\u202e\\n" in said
    assert "…" in said
    assert len(said) < 200 + LONGEST_SHOWN


def test_there_is_an_end_to_problems() -> None:
    text = "version: 1\n" + "\n".join(f"key{number}: 1" for number in range(MOST_PROBLEMS + 50))
    found = problems(text)
    assert len(found) == MOST_PROBLEMS + 1
    assert found[-1] == "and 50 more"


def test_too_many_instances_in_all() -> None:
    apps = "\n".join(f"  a{number}: {{command: [x], instances: 10000}}" for number in range(11))
    said = problem(f"version: 1\napps:\n{apps}")
    assert said == "droned.yaml:3:3: cannot run 110000 instances: one droned has 100000 at most"


def test_what_only_the_host_can_tell_is_not_refused() -> None:
    text = "version: 1\napps: {a: {command: [/none], directory: /none, user: nobody-at-all, group: none}}"
    assert loaded(text).apps["a"].launch.user == "nobody-at-all"


def test_one_problem_is_the_message_and_of_many_the_first() -> None:
    with pytest.raises(ConfigurationError, match=r"^cannot use the configuration: f:2:1: unknown key"):
        load([("f", b"version: 1\nx: 1")], [], {})
    with pytest.raises(
        ConfigurationError, match=r"^cannot use the configuration: 2 problems, the first is f:2:1"
    ):
        load([("f", b"version: 1\nx: 1\ny: 1")], [], {})


def test_no_files_are_no_configuration() -> None:
    with pytest.raises(ConfigurationError, match="without its version"):
        load([], [], {})
