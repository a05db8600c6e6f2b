"""A daemon that goes: what it does not write down is the next one's, and a stop of everything goes on."""

from __future__ import annotations

from typing import Any

import pytest

from droned.daemon.ending import Ending
from droned.models.records import ServerRecord, State
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


def test_a_stop_of_everything_is_remembered_until_everything_is_down(spine: Spine) -> None:
    sent: list[dict[str, Any]] = []

    async def close() -> None:
        spine.supervision.close()

    ending = Ending(
        registry=spine.registry,
        supervision=spine.supervision,
        send=sent.append,
        timers=spine.clock,
        run=spine.run,
        close=close,
        refuse_commands=spine.dispatcher.close,
        exit_when=None,
    )
    ending.shut_down("test", code=3)
    assert server(spine).is_stopping
    assert spine.record("web/0").state is State.STOPPING
    spine.tell("web/0", ended(1, 15))
    spine.clock.advance(1.0)
    assert (server(spine).is_stopping, server(spine).is_down) == (False, True)
    assert sent == [{"type": "exit", "code": 3}]


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
