"""Layers: files over files, `--set` over files, apps over `defaults`."""

import time

import pytest

from droned.config import load
from droned.errors import ConfigurationError
from droned.models.policy import AppSpec, Configuration, RestartWhen
from tests.config.loading import loaded, problem, problems

BASE = """\
version: 1
apps:
  web:
    command: [web]
    env: {A: "1", B: "2"}
    restart: {delay: 1s, policy: always}
    limits: {nofile: 100, core: 0}
    stop: [{signal: INT, to: main, for: 5s}, {signal: KILL, to: tree}]
  db: {command: [db]}
droned: {start_budget: {burst: 10}, journal: {keep: 1d}}
"""


def layered(*texts: str, sets: tuple[str, ...] = ()) -> Configuration:
    return load([(f"{number}.yaml", text.encode()) for number, text in enumerate(texts)], sets, {})


def web(*texts: str, sets: tuple[str, ...] = ()) -> AppSpec:
    return layered(*texts, sets=sets).apps["web"]


def test_later_files_win_key_by_key() -> None:
    spec = web(
        BASE, "apps: {web: {env: {B: x, C: y}, restart: {delay: 2s}, limits: {core: unlimited}, nice: 3}}"
    )
    assert spec.launch.command == ("web",)
    assert spec.launch.env == {"A": "1", "B": "x", "C": "y"}
    assert (spec.restart.delay_s, spec.restart.policy) == (2.0, RestartWhen.ALWAYS)
    assert [(limit.name, limit.soft) for limit in spec.launch.limits] == [("core", None), ("nofile", 100)]
    assert spec.launch.nice == 3


def test_lists_are_replaced_as_a_whole() -> None:
    spec = web(BASE, "apps: {web: {command: [other, x], stop: [{signal: KILL, to: tree}]}}")
    assert spec.launch.command == ("other", "x")
    assert len(spec.stop) == 1


def test_apps_keep_the_order_in_which_they_are_first_named() -> None:
    made = layered(BASE, "apps: {a: {command: [a]}, db: {nice: 1}, web: {nice: 1}}")
    assert list(made.apps) == ["web", "db", "a"]


def test_an_app_stands_where_it_is_first_named() -> None:
    made = layered(BASE, "apps:\n  a: {command: [a]}\n  web: {nice: 1}\n")
    assert [app.origin for app in made.apps.values()] == ["0.yaml:3:3", "0.yaml:9:3", "1.yaml:2:3"]


def test_sources_are_kept_in_their_order() -> None:
    assert layered(BASE, "", "# nothing").sources == ("0.yaml", "1.yaml", "2.yaml")


def test_a_word_and_a_mapping_replace_each_other() -> None:
    assert layered(BASE, "droned: {start_budget: off}").settings.start_budget is None
    again = layered(BASE, "droned: {start_budget: off}", "droned: {start_budget: {per_second: 5}}")
    assert again.settings.start_budget is not None
    assert (again.settings.start_budget.burst, again.settings.start_budget.per_second) == (300, 5.0)


def test_all_files_are_checked_also_where_a_later_one_wins() -> None:
    with pytest.raises(ConfigurationError) as caught:
        layered("version: 1\napps: {web: {nice: 99}}", "apps: {web: {nice: 3, command: [x], niec: 1}}")
    assert [line.partition(": ")[0] for line in caught.value.problems] == ["0.yaml:2:20", "1.yaml:1:37"]


def test_problems_are_sorted_by_layer_and_line() -> None:
    with pytest.raises(ConfigurationError) as caught:
        load([("z.yaml", b"version: 1\nb: 1\na: 1\n"), ("a.yaml", b"c: 1\n")], ["d=1"], {})
    assert [line.partition(": ")[0] for line in caught.value.problems] == [
        *("z.yaml:2:1", "z.yaml:3:1", "a.yaml:1:1", "--set d=1")
    ]


def test_what_a_broken_file_may_say_is_not_missed() -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(
            [("a.yaml", b"version: 1\napps: {web: {command: ["), ("b.yaml", b"apps: {web: {nice: 1}}")],
            [],
            {},
        )
    assert len(caught.value.problems) == 1
    assert "as YAML" in caught.value.problems[0]


@pytest.mark.parametrize("texts", [(), ("",), ("apps: {}",), ("", "apps: {}")])
def test_some_file_says_the_version(texts: tuple[str, ...]) -> None:
    with pytest.raises(ConfigurationError, match="without its version"):
        layered(*texts)


def test_any_file_can_say_the_version() -> None:
    assert list(layered("apps: {a: {command: [a]}}", "version: 1").apps) == ["a"]


@pytest.mark.parametrize(
    ("setting", "field", "value"),
    [
        ("apps.web.instances=3", "labels", ("0", "1", "2")),
        ("apps.web.instances=[x, y]", "labels", ("x", "y")),
        ('apps."web".instances=0', "labels", ()),
    ],
)
def test_set_wins_over_files(setting: str, field: str, value: object) -> None:
    assert getattr(web(BASE, sets=(setting,)), field) == value


def test_set_reaches_every_depth() -> None:
    spec = web(BASE, sets=("apps.web.env.A=x=y", 'apps.web.env."a.b"="no"', "apps.web.env={C: z}"))
    assert spec.launch.env == {"A": "x=y", "B": "2", "a.b": "no", "C": "z"}


def test_later_sets_win() -> None:
    assert web(BASE, sets=("apps.web.nice=1", "apps.web.nice=2")).launch.nice == 2


def test_set_can_make_an_app() -> None:
    made = loaded("version: 1", 'apps."my.app".command=[x]')
    assert made.apps["my.app"].origin == '--set apps."my.app".command=[x]'


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("apps", "--set apps: cannot read this: it is KEY=VALUE"),
        ("=1", "--set =1: cannot read this"),
        ("a..b=1", "cannot read this"),
        (".a=1", "cannot read this"),
        ("a.=1", "cannot read this"),
        ('a."b=1', "cannot read this"),
        ('a."b"c=1', "cannot read this"),
        ("apps.db.nice=[", "--set apps.db.nice=[: cannot read this as YAML"),
        ("apps.db.nice=99", "--set apps.db.nice=99: cannot use 99 for apps.db.nice"),
        ("apps.db.nice=", "--set apps.db.nice=: cannot use nothing for apps.db.nice"),
        ("apps.db.cmd=x", 'unknown key "cmd" in apps.db (did you mean "command"?)'),
        ("droned.logs.total=1", "it is at least 1M"),
        ("apps.db.env.A=\udcff", "cannot read the value"),
        ("apps.db.env.A=\x1b", "--set apps.db.env.A=\\x1b: cannot read the value"),
    ],
)
def test_set_is_refused_with_its_text(setting: str, expected: str) -> None:
    assert expected in problem(BASE, setting)


def test_apps_have_the_defaults_that_they_do_not_say_themselves() -> None:
    made = loaded(
        """\
version: 1
defaults:
  user: www
  env: {A: a, B: b}
  restart: {delay: 2s, limit: never}
  start: {grace: 2s}
  limits: {nofile: 5}
  groups: [x]
  stop: [{signal: KILL, to: tree}]
apps:
  plain: {command: [x]}
  own:
    command: [x]
    env: {B: mine}
    restart: {policy: never}
    limits: {core: 1}
    groups: []
"""
    )
    plain, own = made.apps["plain"], made.apps["own"]
    assert plain.launch.user == own.launch.user == "www"
    assert plain.launch.env == {"A": "a", "B": "b"}
    assert own.launch.env == {"A": "a", "B": "mine"}
    assert (own.restart.policy, own.restart.delay_s, own.restart.limit) == (RestartWhen.NEVER, 2.0, None)
    assert [limit.name for limit in own.launch.limits] == ["core", "nofile"]
    assert own.launch.groups == ()
    assert len(own.stop) == 1


@pytest.mark.parametrize("key", ["command: [x]", "instances: 2"])
def test_what_each_app_has_for_itself_is_no_default(key: str) -> None:
    assert "each app has its own" in problem(f"version: 1\ndefaults: {{{key}}}\n")


def test_a_wrong_default_is_told_once() -> None:
    apps = "\n".join(f"  a{number}: {{command: [x]}}" for number in range(20))
    wrong = "{restart: {max_delay: 1ms}, stop: [{signal: TERM, to: main}]}"
    text = f"version: 1\ndefaults: {wrong}\napps:\n{apps}"
    assert [line.partition(": ")[0] for line in problems(text)] == ["droned.yaml:2:33", "droned.yaml:2:46"]


def test_many_apps_take_no_more_time_each() -> None:
    """2,000 apps take 0.3 s on a machine that is otherwise idle; the bound is for busy ones."""
    apps = "\n".join(f"  a{number}: {{command: [x, y], env: {{A: b}}, nice: 1}}" for number in range(2000))
    began = time.process_time()
    made = loaded(f"version: 1\ndefaults: {{user: www, env: {{C: d}}}}\napps:\n{apps}")
    assert time.process_time() - began < 3.0
    assert len(made.apps) == 2000


def test_defaults_are_checked_without_any_app() -> None:
    assert "cannot end a stop" in problem("version: 1\ndefaults: {stop: []}\n")
