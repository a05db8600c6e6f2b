"""Any configuration that can be made can be written, and reads back as itself."""

from collections.abc import Mapping

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from droned.config import values
from droned.models.policy import (
    DEFAULT_STOP,
    AppSpec,
    Configuration,
    DaemonSettings,
    JournalSettings,
    Launch,
    Leftovers,
    LogFormat,
    LogPolicy,
    LogSettings,
    ResourceLimit,
    RestartLimit,
    RestartPolicy,
    RestartWhen,
    SignalTo,
    StartBudget,
    StartPolicy,
    StderrTo,
    StopStep,
    WhenFull,
)
from tests.config.loading import loaded

texts = st.text(
    alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\0$"), max_size=20
) | st.sampled_from(
    ["no", "010", "12:30:45", "~", "", "a${DRONED_LABEL}", "$$HOME", "8000", "1.10", "\u2028", "\t"]
)
names = st.from_regex(values.NAME, fullmatch=True)
seconds = st.sampled_from([0.0, 0.25, 1.0, 90.0, 3600.0, 86_400.0])
identities = st.integers(0, 4_294_967_294) | st.sampled_from(["www", "1000", "app-${DRONED_LABEL}"])
bounds = st.none() | st.integers(0, (1 << 63) - 1)


@st.composite
def limits(draw: st.DrawFn) -> tuple[ResourceLimit, ...]:
    made = []
    for name in sorted(draw(st.sets(st.sampled_from(values.LIMIT_NAMES), max_size=3))):
        soft, hard = draw(bounds), draw(bounds)
        if hard is not None and (soft is None or soft > hard):
            soft, hard = hard, soft
        made.append(ResourceLimit(name=name, soft=soft, hard=hard))
    return tuple(made)


launches = st.builds(
    Launch,
    command=st.tuples(texts.filter(bool), texts, texts),
    directory=st.none() | texts.map("/{}".format),
    env=st.dictionaries(st.from_regex(values.VARIABLE_NAME, fullmatch=True), texts, max_size=3),
    user=st.none() | identities,
    group=st.none() | identities,
    groups=st.none() | st.lists(identities, max_size=3).map(tuple),
    umask=st.none() | st.integers(0, 0o777),
    limits=limits(),
    nice=st.none() | st.integers(-20, 19),
    oom_score_adj=st.none() | st.integers(-1000, 1000),
    no_new_privs=st.booleans(),
)
restarts = st.builds(
    RestartPolicy,
    policy=st.sampled_from(RestartWhen),
    delay_s=seconds,
    max_delay_s=st.just(90_000.0),
    jitter=st.sampled_from([0.0, 0.5, 1.0]),
    reset_after_s=seconds,
    limit=st.none() | st.builds(RestartLimit, count=st.integers(1, 999_999), within_s=seconds.filter(bool)),
    retry_failed_after_s=st.none() | seconds,
    success_exit=st.lists(st.integers(0, 127), unique=True, max_size=3).map(tuple),
    permanent_exit=st.lists(st.integers(128, 255), unique=True, max_size=3).map(tuple),
)
steps = st.lists(
    st.builds(StopStep, signal=st.integers(1, 64), to=st.sampled_from(SignalTo), for_s=seconds), max_size=3
)
logs = st.builds(
    LogPolicy,
    format=st.sampled_from(LogFormat),
    stderr=st.sampled_from(StderrTo),
    max_size_bytes=st.sampled_from([1 << 16, 1_000_000, 1 << 40]),
    keep=st.integers(0, 10_000),
    max_age_s=st.none() | seconds.filter(bool),
    compress=st.booleans(),
    when_full=st.sampled_from(WhenFull),
    direct=st.booleans(),
)
specs = st.builds(
    AppSpec,
    name=st.just(""),
    launch=launches,
    labels=st.integers(0, 5).map(lambda count: tuple(map(str, range(count))))
    | st.lists(names, unique=True, max_size=3).map(tuple),
    restart=restarts,
    start=st.builds(StartPolicy, grace_s=seconds),
    stop=steps.map(lambda found: (*found, DEFAULT_STOP[-1])),
    leftovers=st.sampled_from(Leftovers),
    logs=logs,
)
configurations = st.builds(
    Configuration,
    apps=st.dictionaries(names, specs, max_size=3),
    settings=st.builds(
        DaemonSettings,
        socket=st.none() | st.just("/run/droned/droned.sock"),
        start_budget=st.none()
        | st.builds(StartBudget, burst=st.integers(1, 1000), per_second=st.sampled_from([0.5, 50.0])),
        journal=st.builds(JournalSettings, keep_s=seconds.filter(bool)),
        logs=st.builds(LogSettings, total_bytes=st.none() | st.sampled_from([1 << 20, 3_000_000_000])),
    ),
)


def duration(value: float | None) -> str:
    return "never" if value is None else f"{value:.3f}s"


def bound(value: int | None) -> int | str:
    return "unlimited" if value is None else value


def given_only(**told: object) -> dict[str, object]:
    return {name: value for name, value in told.items() if value is not None}


def app_as_written(spec: AppSpec) -> dict[str, object]:
    launch, restart = spec.launch, spec.restart
    limit = restart.limit
    return given_only(
        command=list(launch.command),
        directory=launch.directory,
        env=dict(launch.env),
        user=launch.user,
        group=launch.group,
        groups=None if launch.groups is None else list(launch.groups),
        umask=None if launch.umask is None else f"0{launch.umask:o}",
        limits={item.name: [bound(item.soft), bound(item.hard)] for item in launch.limits},
        nice=launch.nice,
        oom_score_adj=launch.oom_score_adj,
        no_new_privs=launch.no_new_privs,
        instances=list(spec.labels),
        restart={
            "policy": str(restart.policy),
            "delay": duration(restart.delay_s),
            "max_delay": duration(restart.max_delay_s),
            "jitter": restart.jitter,
            "reset_after": duration(restart.reset_after_s),
            "limit": "never" if limit is None else f"{limit.count} in {duration(limit.within_s)}",
            "retry_failed_after": duration(restart.retry_failed_after_s),
            "success_exit": list(restart.success_exit),
            "permanent_exit": list(restart.permanent_exit),
        },
        start={"grace": duration(spec.start.grace_s)},
        stop=[
            {"signal": step.signal, "to": str(step.to)}
            | ({} if step.for_s is None else {"for": duration(step.for_s)})
            for step in spec.stop
        ],
        leftovers=str(spec.leftovers),
        logs={
            "format": str(spec.logs.format),
            "stderr": str(spec.logs.stderr),
            "max_size": spec.logs.max_size_bytes,
            "keep": spec.logs.keep,
            "max_age": duration(spec.logs.max_age_s),
            "compress": spec.logs.compress,
            "when_full": str(spec.logs.when_full),
            "direct": spec.logs.direct,
        },
    )


def as_written(configuration: Configuration) -> Mapping[str, object]:
    """The YAML document of a configuration, as the library's own writer takes it."""
    settings = configuration.settings
    budget = settings.start_budget
    return {
        "version": 1,
        "apps": {name: app_as_written(spec) for name, spec in configuration.apps.items()},
        "droned": given_only(
            socket=settings.socket,
            start_budget="off"
            if budget is None
            else {"burst": budget.burst, "per_second": budget.per_second},
            journal={"keep": duration(settings.journal.keep_s)},
            logs={"total": "off" if settings.logs.total_bytes is None else settings.logs.total_bytes},
        ),
    }


def without_places(configuration: Configuration) -> object:
    """What a configuration says, apart from where."""
    apps = [
        (name, app_as_written(spec), spec.labels, spec.launch, spec.restart, spec.start, spec.stop)
        for name, spec in configuration.apps.items()
    ]
    return apps, configuration.settings


@given(configurations)
@settings(deadline=None)
def test_written_and_read_back(configuration: Configuration) -> None:
    # With `allow_unicode` the library writes U+0085 as it is, and then reads it as a line break.
    text = yaml.safe_dump(as_written(configuration), sort_keys=False, allow_unicode=False)
    assert without_places(loaded(text)) == without_places(configuration)
