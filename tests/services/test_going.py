"""A daemon that goes: what it does not write down is the next one's, and a stop of everything goes on."""

from __future__ import annotations

from typing import Any

import pytest

from droned.daemon.ending import Ending
from droned.models.records import ServerRecord, State
from droned.services.held import Hold
from tests.services.spine import Spine, app, ended


@pytest.fixture
def spine() -> Spine:
    """A spine with one running instance."""
    spine = Spine()
    spine.configure(app())
    spine.up("web/0")
    return spine


def server(spine: Spine) -> ServerRecord:
    record = spine.registry.records("server")["server"]
    assert isinstance(record, ServerRecord)
    return record


def test_an_end_that_is_told_to_a_daemon_that_goes_is_left_to_the_next(spine: Spine) -> None:
    spine.supervision.close()
    version = spine.registry.version
    spine.tell("web/0", ended(1, 7 << 8))
    spine.processes.durable(version, "d")
    assert spine.spawner.acknowledged == []
    assert spine.registry.version == version


def ending_of(spine: Spine, sent: list[dict[str, Any]]) -> Ending:
    """What ends this spine's daemon; `sent` gets what the guardian is told."""

    async def close() -> None:
        spine.supervision.close()

    return Ending(
        registry=spine.registry,
        supervision=spine.supervision,
        send=sent.append,
        timers=spine.clock,
        run=spine.run,
        when_durable=spine.when_durable,
        guardian_id=lambda: "7.77",
        close=close,
        refuse_commands=spine.dispatcher.close,
        exit_when=None,
    )


def test_a_stop_of_everything_is_remembered_until_everything_is_down(spine: Spine) -> None:
    sent: list[dict[str, Any]] = []
    ending_of(spine, sent).shut_down("test", code=3)
    assert (server(spine).is_stopping, server(spine).stopping_under, server(spine).stopping_code) == (
        True,
        "7.77",
        3,
    )
    assert spine.record("web/0").state is State.STOPPING
    spine.tell("web/0", ended(1, 15))
    spine.clock.advance(1.0)
    assert (server(spine).is_stopping, server(spine).is_down) == (False, True)
    assert sent == [{"type": "exit", "code": 3}]


def test_a_stop_of_everything_signals_nobody_before_it_is_on_disk(spine: Spine) -> None:
    """Else a kill -9 in between makes a crash of each end that was asked for, and starts it all again."""
    spine.durable_up_to = spine.registry.version
    ending_of(spine, []).shut_down("test")
    assert spine.spawner.signals == []
    spine.make_durable(spine.registry.version)
    assert spine.spawner.signals == [("web/0", 1, 15, "main")]


def test_a_stop_of_everything_is_not_over_before_it_is_on_disk(spine: Spine) -> None:
    """Its receipt waits for that too, and has to be given before the daemon goes."""
    sent: list[dict[str, Any]] = []
    spine.durable_up_to = spine.registry.version
    spine.tell("web/0", ended(1, 9))
    spine.run(spine.command("stop", "web/0"), "stop")
    ending_of(spine, sent).shut_down("test")
    spine.clock.advance(1.0)
    assert sent == []
    spine.make_durable(spine.registry.version)
    spine.clock.advance(1.0)
    assert sent == [{"type": "exit", "code": 0}]


def test_a_stop_of_everything_that_somebody_else_remembers_waits_for_no_disk(spine: Spine) -> None:
    spine.durable_up_to = spine.registry.version
    ending_of(spine, []).shut_down("test", hold=Hold.NO)
    assert spine.spawner.signals == [("web/0", 1, 15, "main")]


def test_what_one_effect_cannot_do_is_done_for_the_others(
    spine: Spine, monkeypatch: pytest.MonkeyPatch
) -> None:
    launch_of = spine.launch_of

    def without_room(app_record: Any, record: Any) -> Any:
        if record.key == "bad/0":
            raise OSError("no descriptor")
        return launch_of(app_record, record)

    monkeypatch.setattr(spine.supervision, "_launch_of", without_room)
    spine.configure(app(), app("bad"), app("good"))
    spine.clock.advance(0.0)
    assert spine.spawner.spawned[-1] == ("good/0", 1)
    assert spine.record("bad/0").state is State.BACKOFF
    assert spine.failures == ["an effect on bad/0"]
