"""The service `logs` over a spine in memory and a `droned-logs` that the test plays."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import fail, succeed

from droned.drivers.output_files import OutputFiles, policy_text
from droned.errors import Busy, CannotRun, NoSuchTarget, NotNow, ShuttingDown
from droned.models.events import EventType
from droned.models.policy import LogPolicy
from droned.models.records import IssueKind
from droned.models.registry import Commit
from droned.services.logs import FOLLOWERS, LOST, SEARCHES, UNREACHABLE_S, USAGE_S, LogsService
from droned.services.losses import LOST_S
from tests.fakes.pools import InlinePool
from tests.services.spine import Spine, app, result_of

DEFAULT = policy_text(LogPolicy())


class FakeLink:
    """What would be sent to `droned-logs`, and what it answers."""

    def __init__(self) -> None:
        self.changed: Callable[[], None] = lambda: None
        self.pid: int | None = None
        self.is_connected = False
        self.is_open = False
        self.total: int | None = 0
        self.own: tuple[str, str, int | None] | None = None
        self.policies: dict[str, str] = {}
        self.asked: list[tuple[str, Sequence[str] | None]] = []
        self.answers: dict[str, list[Mapping[str, Any]]] = {}
        self.fault: Exception | None = None

    def begin(self) -> None:
        self.is_open = True

    def close(self) -> None:
        self.is_open = False

    def connect(self, pid: int | None) -> None:
        """`droned-logs` is there under this pid, or gone."""
        self.pid, self.is_connected = pid, pid is not None
        self.changed()

    def set_total(self, total_bytes: int | None) -> None:
        self.total = total_bytes

    def set_policies(self, policies: Mapping[str, str]) -> None:
        self.policies.update(policies)

    def forget(self, instance: str) -> None:
        self.policies.pop(instance, None)

    def set_own(self, instance: str, policy: str, fd: int | None, taken: Callable[[bool], None]) -> None:
        self.own = (instance, policy, fd)

    def ask(self, do: str, instances: Sequence[str] | None = None) -> Awaitable[list[Mapping[str, Any]]]:
        self.asked.append((do, instances))
        return fail(self.fault) if self.fault is not None else succeed(self.answers.get(do, []))


class FakeReader:
    """A reader that ends when the test says so."""

    def __init__(self, received: Callable[[bytes], None], ended: Callable[[int], None]) -> None:
        self.ends = ended
        self.question: Mapping[str, object] = {}
        self.is_killed = False
        self.fault: Exception | None = None

    def begin(self, question: Mapping[str, object]) -> None:
        self.question = question

    def pause(self) -> None: ...

    def resume(self) -> None: ...

    def kill(self) -> None:
        self.is_killed = True


class Place:
    """The service and all that it stands on."""

    def __init__(self, folder: Path) -> None:
        self.spine = Spine()
        self.link = FakeLink()
        self.readers: list[FakeReader] = []
        self.cannot_start = False
        self.commits: list[Commit] = []
        self._folder = folder
        self.service = self._new_service()
        self.spine.registry.subscribe(self.commits.append)

    def _new_service(self) -> LogsService:
        return LogsService(
            registry=self.spine.registry,
            link=self.link,
            new_reader=self._new_reader,
            files=OutputFiles(str(self._folder)),
            issues=self.spine.issues,
            dispatcher=self.spine.dispatcher,
            server_name="here",
            when_durable=self.spine.when_durable,
            clock=self.spine.clock,
            timers=self.spine.clock,
            pool=InlinePool(),
            run=self.spine.run,
            moment=self.spine.supervision.moment,
        )

    def next_daemon(self) -> None:
        """Have another service, which knows what is in the registry."""
        self.service.stopService()
        self.service = self._new_service()
        self.service.startService()

    def _new_reader(self, received: Callable[[bytes], None], ended: Callable[[int], None]) -> FakeReader:
        if self.cannot_start:
            raise CannotRun("cannot start a reader of logs: no memory")
        self.readers.append(FakeReader(received, ended))
        return self.readers[-1]

    def read(self, *, follow: bool = False) -> Any:
        return self.service.read({"follow": follow}, lambda piece: None, lambda status: None)

    def issues(self) -> list[str]:
        return [each.text for each in self.spine.registry.snapshot().issues.values()]

    def lost(self, **lost_bytes: int) -> None:
        """Let a minute go by, at the end of which so much was lost, all in all."""
        instances = {f"{name}/0": {"bytes": 1, "lost_bytes": count} for name, count in lost_bytes.items()}
        self.link.answers["usage"] = [{"id": 1, "instances": instances, "last": True}]
        self.spine.clock.advance(USAGE_S)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = Place(tmp_path)
    made.spine.configure(app("web", labels=("0", "1")), app("db"))
    made.service.startService()
    made.link.connect(4711)
    return made


def test_policies_of_all_instances_are_told_at_the_start(place: Place) -> None:
    assert place.link.policies == {"web/0": DEFAULT, "web/1": DEFAULT, "db/0": DEFAULT}
    place.service.set_total(None)
    assert place.link.total is None


def test_what_a_reload_changes_is_told(place: Place) -> None:
    changed = LogPolicy(keep=1)
    place.spine.configure(app("web", labels=("0",), logs=changed), app("new"))
    place.spine.up("new/0")
    assert place.link.policies["web/0"] == policy_text(changed)
    assert place.link.policies["new/0"] == DEFAULT
    assert "web/1" not in place.link.policies or place.spine.registry.instance("web/1") is not None


def test_an_instance_that_is_gone_is_forgotten(place: Place) -> None:
    version = place.spine.registry.version
    place.spine.registry.commit(
        (("instance", "db/0", None),), (), moment=place.spine.supervision.moment(), actor="test", cause=0
    )
    assert place.spine.registry.version == version + 1
    assert "db/0" not in place.link.policies


def test_commits_that_change_no_policy_tell_nothing(place: Place) -> None:
    place.link.policies.clear()
    place.spine.up("web/0")
    place.spine.configure(app("web", labels=("0", "1"), origin="elsewhere"), app("db"))
    assert place.link.policies == {}


def test_orders_are_remembered_and_done(place: Place) -> None:
    place.link.answers["rotate"] = [{"id": 1, "rotated": 2}, {"id": 2, "rotated": 1}]
    receipt = result_of(place.spine.command("logs-rotate", "web"))
    assert (receipt.result, receipt.durable, receipt.action) == ({"rotated": 3}, True, None)
    assert place.link.asked[-1] == ("rotate", ("web/0", "web/1"))
    [event] = place.commits[-1].events
    assert (event.type, event.text) == (EventType.COMMAND_ACCEPTED, "logs-rotate web by root")
    place.link.answers["clear"] = [{"id": 3, "bytes": 77}]
    assert result_of(place.spine.command("logs-clear", "web/1")).result == {"bytes": 77}
    assert place.commits[-1].events[0].subject == "web/1"


def test_orders_are_taken_for_what_left_the_configuration(place: Place, tmp_path: Path) -> None:
    for instance in ("old/0", "old/1", "web/9", "empty/0"):
        (tmp_path / "logs" / instance).mkdir(parents=True)
    for instance in ("old/0", "old/1", "web/9"):
        (tmp_path / "logs" / instance / "stdout-0000000000000000.log").touch()
    result_of(place.spine.command("logs-clear", "old"))
    result_of(place.spine.command("logs-rotate", "old/1", "web/9", "db", "droned/log"))
    assert place.link.asked == [
        ("clear", ("old/0", "old/1")),
        ("rotate", ("db/0", "old/1", "web/9", "droned/log")),
    ]
    with pytest.raises(NoSuchTarget, match='cannot find instance or app "empty"'):
        result_of(place.spine.command("logs-clear", "empty"))
    assert len(place.link.asked) == 2


def test_droneds_own_log_is_captured_and_named_like_an_instance(place: Place) -> None:
    place.service.set_own(7, lambda is_taken: None)
    assert place.link.own == ("droned/log", DEFAULT, 7)
    result_of(place.spine.command("logs-rotate", "droned/log"))
    result_of(place.spine.command("logs-rotate", "db", "droned/log"))
    assert place.link.asked == [("rotate", ("droned/log",)), ("rotate", ("db/0", "droned/log"))]


def test_an_order_that_is_not_done_is_an_error(place: Place) -> None:
    place.link.fault = NotNow("cannot do this with logs: read-only")
    with pytest.raises(NotNow, match="read-only"):
        result_of(place.spine.command("logs-clear", "web"))


def test_usage_is_one_answer_whatever_packets_it_took(place: Place) -> None:
    place.link.answers["usage"] = [
        {"id": 1, "instances": {"web/0": {"bytes": 1}}, "last": False},
        {"id": 1, "instances": {"db/0": {"bytes": 2}}, "index_bytes": 9, "total_bytes": 12, "last": True},
    ]
    assert result_of(place.service.usage()) == {
        "instances": {"web/0": {"bytes": 1}, "db/0": {"bytes": 2}},
        "index_bytes": 9,
        "total_bytes": 12,
    }


def test_there_are_only_so_many_readers(place: Place, tmp_path: Path) -> None:
    for _ in range(FOLLOWERS):
        place.read(follow=True)
    with pytest.raises(Busy, match="cannot follow logs: 16 do so already"):
        place.read(follow=True)
    for _ in range(SEARCHES):
        place.read()
    with pytest.raises(Busy, match="cannot search logs: 8 do so already"):
        place.read()
    assert place.service.note == "droned-logs is pid 4711; 16 following, 8 searching"
    assert place.readers[0].question == {"folder": f"{tmp_path}/logs", "follow": True}
    place.readers[0].ends(0)
    place.read(follow=True)


def test_a_reader_that_cannot_be_started_takes_no_place(place: Place) -> None:
    place.cannot_start = True
    for _ in range(SEARCHES + 1):
        with pytest.raises(CannotRun):
            place.read()


def test_the_end_of_the_service_ends_every_reader(place: Place) -> None:
    place.read(follow=True)
    place.service.stopService()
    assert place.readers[0].is_killed
    assert not place.link.is_open
    assert place.spine.clock.pending == 0
    with pytest.raises(ShuttingDown):
        place.read()
    with pytest.raises(ShuttingDown):
        result_of(place.spine.command("logs-rotate", "web"))
    place.service.startService()
    assert place.link.is_open


def test_a_droned_logs_that_is_replaced_is_no_issue_and_one_that_stays_away_is(place: Place) -> None:
    place.link.connect(None)
    place.spine.clock.advance(UNREACHABLE_S - 1)
    place.link.connect(4712)
    place.link.connect(None)
    place.spine.clock.advance(UNREACHABLE_S - 1)
    assert (place.issues(), place.service.note) == ([], "cannot reach droned-logs")
    place.spine.clock.advance(1.0)
    [text] = place.issues()
    assert "droned-logs cannot be reached" in text
    assert place.service.is_unreachable
    place.link.connect(4713)
    assert place.issues() == []
    assert not place.service.is_unreachable


def test_what_is_lost_is_an_issue_until_nothing_is_lost_any_more(place: Place) -> None:
    place.lost(web=500)
    assert place.issues() == [], "what was lost long before this daemon came is no news"
    place.lost(web=500, db=10)
    assert place.issues() == ["output was lost: of db/0 10 bytes; the places are marked in their logs"]
    place.lost(web=520, db=15)
    assert "of web/0 20 bytes, db/0 15 bytes;" in place.issues()[0]
    for _ in range(int(LOST_S / USAGE_S) - 1):
        place.lost(web=520, db=15)
    assert len(place.issues()) == 1
    place.lost(web=0, db=0)
    assert place.issues() == []


def usage_is(place: Place, **rows: Mapping[str, object]) -> None:
    """Let a minute go by, at the end of which this is told of instances."""
    instances = {f"{name}/0": row for name, row in rows.items()}
    place.link.answers["usage"] = [{"id": 1, "instances": instances, "last": True}]
    place.spine.clock.advance(USAGE_S)


def test_what_was_lost_shortly_before_this_daemon_came_is_an_issue_for_as_long_as_any(place: Place) -> None:
    usage_is(place, web={"lost_bytes": 500, "lost_ago_s": 200}, db={"lost_bytes": 9, "lost_ago_s": 5000})
    assert place.issues() == ["output was lost: of web/0 500 bytes; the places are marked in their logs"]
    for minute in range(1, 7):
        ago_s = 200 + minute * USAGE_S
        usage_is(place, web={"lost_bytes": 500, "lost_ago_s": ago_s})
        assert len(place.issues()) == 1
    usage_is(place, web={"lost_bytes": 500, "lost_ago_s": 620})
    assert place.issues() == []


def test_an_issue_of_an_earlier_daemon_goes_on_or_is_closed(place: Place) -> None:
    place.spine.issues.open(IssueKind.LOGS, LOST, "output was lost", "")
    usage_is(place, web={"lost_bytes": 500, "lost_ago_s": 60})
    assert len(place.issues()) == 1
    place.next_daemon()
    usage_is(place, web={"lost_bytes": 500, "lost_ago_s": 120})
    assert len(place.issues()) == 1
    place.next_daemon()
    usage_is(place, web={"lost_bytes": 500, "lost_ago_s": 2000})
    assert place.issues() == []


def test_what_a_new_droned_logs_lost_is_news(place: Place) -> None:
    usage_is(place, web={"lost_bytes": 500, "lost_ago_s": 2000})
    usage_is(place, web={"lost_bytes": 20, "lost_ago_s": 1})
    assert "of web/0 20 bytes" in place.issues()[0]


def test_what_cannot_be_written_is_an_issue_while_it_is_so(place: Place) -> None:
    usage_is(place, web={"lost_bytes": 0, "trouble": "disk full"})
    assert place.issues() == ["output cannot be written: of web/0 (disk full)"]
    usage_is(place, web={"lost_bytes": 7, "lost_ago_s": 1})
    assert place.issues() == ["output was lost: of web/0 7 bytes; the places are marked in their logs"]
    place.service.take_losses({"db/0": {"trouble": "disk full"}})
    assert place.issues()[0].startswith(
        "output cannot be written: of db/0 (disk full); output was lost: of web"
    )


def test_a_droned_logs_that_does_not_answer_is_asked_again(place: Place) -> None:
    place.link.fault = ShuttingDown("cannot tell the usage of logs")
    place.lost(web=1)
    assert place.spine.failures == []
    place.link.fault = None
    place.lost(web=1)
    place.lost(web=2)
    assert len(place.issues()) == 1


def test_last_lines_are_read_in_a_thread(place: Place, tmp_path: Path) -> None:
    (tmp_path / "logs/web/0").mkdir(parents=True)
    (tmp_path / "logs/web/0/last-3.json").write_text('{"lines": [{"stream": "stderr", "line": "x"}]}')
    assert result_of(place.service.last_lines("web/0", [2, 3])) == {3: [{"stream": "stderr", "line": "x"}]}
    assert result_of(place.service.last_lines("web/0", [])) == {}
