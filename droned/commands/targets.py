"""What a target means: from the texts a person gives to the keys of instances.

`web/0` is one instance, `web` all of an app's, `'web/*'` and `'w*'` are shell
globs over label and app, `HOST:app/label` and `@HOST` name a server. Every
text must mean something: one that matches nothing is refused and nothing is
done, so that a slip of the finger never half-works. The answer has each
instance once, in the order of the configuration.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from fnmatch import fnmatchcase

from msgspec import Struct

from droned.commands.arguments import MOST_NAMES, is_plain_text, shown
from droned.commands.nearness import hint, near_names
from droned.errors import BadRequest, NoSuchTarget
from droned.models.daemon_log import OWN_LOG
from droned.models.records import AppRecord
from droned.models.registry import Snapshot

MOST_TARGET = 256
_GLOB = frozenset("*?[")


class TargetPattern(Struct, frozen=True, kw_only=True):
    """A target as globs over app and label."""

    app: str | None
    """None is everything that this server has."""
    label: str | None
    """None is every label."""

    @classmethod
    def parse(cls, target: str, server: str) -> TargetPattern:
        """The pattern in a text; BadRequest for what cannot be one, NoSuchTarget for another server's."""
        if not target or not is_plain_text(target, MOST_TARGET):
            raise BadRequest(
                f"cannot take {shown(target)} as a target: 1 to {MOST_TARGET} characters on one line"
            )
        if target.startswith("@"):
            _refuse_other_server(target[1:], target, server)
            return cls(app=None, label=None)
        host, colon, rest = target.partition(":")
        if colon:
            _refuse_other_server(host, target, server)
        app, slash, label = (rest if colon else target).partition("/")
        return cls(app=app, label=label if slash else None)

    def is_about(self, subject: str) -> bool:
        """Whether it fits `app/label`, or, where it names no label, an event's subject `app NAME`."""
        if self.app is None:
            return True
        app, slash, label = subject.partition("/")
        if not slash:
            return (
                self.label is None
                and app.startswith("app ")
                and fnmatchcase(app.removeprefix("app "), self.app)
            )
        return fnmatchcase(app, self.app) and (self.label is None or fnmatchcase(label, self.label))


def resolve(
    targets: Sequence[str],
    snapshot: Snapshot,
    server: str,
    *,
    all_targets: bool = False,
    kept: Collection[str] = (),
) -> tuple[str, ...]:
    """The keys of the instances that `targets` name on this server, in configuration order.

    `server` is this server's own name. `all_targets` stands for every
    instance and goes with no names. What means none of them may mean one of
    `kept`, which come last. Raises NoSuchTarget, with near names, for
    a text that matches nothing, and for another server's name; BadRequest for
    nothing at all and for what cannot be a target.
    """
    if all_targets:
        if targets:
            raise BadRequest("cannot take both all instances and names of some")
        return in_configuration_order(snapshot)
    if not targets:
        raise BadRequest("cannot do this without a target: name instances or apps, or say all")
    if len(targets) > MOST_NAMES:
        raise BadRequest(f"cannot take {len(targets)} targets at once: at most {MOST_NAMES}")
    found: set[str] = set()
    for target in targets:
        found.update(_matches(target, snapshot, server, kept))
    known = [key for key in in_configuration_order(snapshot) if key in found]
    return (*known, *sorted(found.difference(known)))


def log_keys(
    targets: Sequence[str],
    snapshot: Snapshot,
    server: str,
    *,
    all_targets: bool = False,
    kept: Collection[str] = (),
) -> tuple[str, ...]:
    """The same with droned's own log, which is captured as that of an instance of its name.

    `kept` are the instances, known or not, of which there is output.
    """
    others = [target for target in targets if target != OWN_LOG]
    own = (OWN_LOG,) if len(others) < len(targets) else ()
    if own and not others:
        return own
    return (*resolve(others, snapshot, server, all_targets=all_targets, kept=kept), *own)


def apps_and_instances(
    targets: Sequence[str], snapshot: Snapshot, server: str, *, kept: Collection[str] = ()
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What `targets` name as whole apps, with instances that are yet to come, and as single instances.

    Both are empty where everything is meant: without a target, or with one that names this server.
    `kept` is as for `log_keys`. Raises as `log_keys` does.
    """
    if not targets:
        return (), ()
    log_keys(targets, snapshot, server, kept=kept)
    names = dict.fromkeys([*snapshot.apps, *(record.app for record in snapshot.instances.values())])
    apps: dict[str, None] = {}
    instances: dict[str, None] = {}
    for target in targets:
        pattern = TargetPattern.parse(target, server)
        if pattern.app is None:
            return (), ()
        if target == OWN_LOG:
            instances[OWN_LOG] = None
        elif pattern.label in (None, "*"):
            fitting = [name for name in names if fnmatchcase(name, pattern.app)]
            gone = () if fitting else _matches(target, snapshot, server, kept)
            apps.update(dict.fromkeys([*fitting, *(key.partition("/")[0] for key in gone)]))
        else:
            instances.update(dict.fromkeys(_matches(target, snapshot, server, kept)))
    return tuple(apps), tuple(instances)


def in_configuration_order(snapshot: Snapshot) -> tuple[str, ...]:
    """The keys of all instances: apps and labels as the configuration lists them, what left it last."""
    apps = {name: place for place, name in enumerate(snapshot.apps)}
    labels = {name: _places(record) for name, record in snapshot.apps.items()}

    def place(key: str) -> tuple[int, int, int, str]:
        record = snapshot.instances[key]
        known = labels.get(record.app, {})
        last = len(known)
        number = int(record.label) if record.label.isdecimal() and len(record.label) < 10 else 0
        return apps.get(record.app, len(apps)), known.get(record.label, last), number, key

    return tuple(sorted(snapshot.instances, key=place))


def no_such(what: str, name: str, known: Iterable[str]) -> NoSuchTarget:
    """The error for a `what` (app, instance, action) of a name that does not exist, with near names."""
    near = near_names(name, known)
    return NoSuchTarget(
        f"cannot find {what} {_quoted(name)}{hint(near)}", target=name[:MOST_TARGET], near=list(near)
    )


def _places(record: AppRecord) -> dict[str, int]:
    return {label: place for place, label in enumerate(record.spec.labels)}


def _quoted(name: str) -> str:
    return f'"{name}"' if is_plain_text(name, 80) and '"' not in name else shown(name, 80)


def _matches(target: str, snapshot: Snapshot, server: str, kept: Collection[str] = ()) -> Iterable[str]:
    pattern = TargetPattern.parse(target, server)
    if pattern.app is None:
        return snapshot.instances
    exact = f"{pattern.app}/{pattern.label}"
    if exact in snapshot.instances:
        return (exact,)
    fitting = [key for key in snapshot.instances if pattern.is_about(key)]
    has_none_yet = pattern.label is None and pattern.app in snapshot.apps
    if fitting or has_none_yet:
        return fitting
    gone = [key for key in kept if pattern.is_about(key)]
    if not gone:
        raise _unknown(target, pattern, snapshot, kept)
    return gone


def _unknown(target: str, pattern: TargetPattern, snapshot: Snapshot, kept: Collection[str]) -> NoSuchTarget:
    app, label = pattern.app or "", pattern.label
    labels = [record.label for record in snapshot.instances.values() if record.app == app]
    labels += [key.partition("/")[2] for key in kept if key.startswith(f"{app}/")]
    near: tuple[str, ...]
    if label is not None and (labels or app in snapshot.apps):
        known = list(dict.fromkeys(labels))
        near = tuple(f"{app}/{each}" for each in near_names(label, known) or known[:3])
    else:
        near = near_names(app, dict.fromkeys([*snapshot.apps, *(key.partition("/")[0] for key in kept)]))
    what = "an instance that matches" if _GLOB & set(target) else "instance or app"
    return NoSuchTarget(f"cannot find {what} {_quoted(target)}{hint(near)}", target=target, near=list(near))


def _refuse_other_server(host: str, target: str, server: str) -> None:
    if host != server:
        raise NoSuchTarget(
            f"cannot reach server {_quoted(host)}: this is {_quoted(server)}, "
            "and commands for other servers come later",
            target=target,
            near=[server],
        )
