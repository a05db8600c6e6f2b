"""The one door through which every changing command goes."""

import asyncio
import json

import pytest

from droned.commands.dispatcher import Caller, Dispatcher, Receipt
from droned.commands.requests import Request, read_request
from droned.commands.table import Role
from droned.errors import BadRequest, Degraded, DronedError, NoSuchTarget, NotAllowed, ShuttingDown

ROOT = Caller(actor="root", uid=0, role=Role.ADMIN)
READER = Caller(actor="alice (uid 1000)", uid=1000, role=Role.READ)
RECEIPT = Receipt(version=7, durable=True, action="7")


class Service:
    """Registers itself for some commands and remembers what came."""

    def __init__(self, *names: str, is_degraded: bool = False) -> None:
        self.seen: list[tuple[Request, Caller]] = []
        self.dispatcher = Dispatcher(lambda: is_degraded)
        for name in names:
            self.dispatcher.register(name, self.take)

    async def take(self, request: Request, caller: Caller) -> Receipt:
        self.seen.append((request, caller))
        return RECEIPT

    def ask(self, command: str, **members: object) -> Receipt:
        return self.ask_as(ROOT, command, **members)

    def ask_as(self, caller: Caller, command: str, **members: object) -> Receipt:
        body = json.dumps({"command": command, **members}).encode()
        return asyncio.run(self.dispatcher.dispatch(read_request(body, None), caller))


def test_a_command_reaches_its_function_with_checked_arguments() -> None:
    service = Service("kill")
    assert service.ask("kill", targets=["web"], arguments={"signal": "HUP"}) is RECEIPT
    [(request, caller)] = service.seen
    assert request.arguments == {"signal": 1, "to": "main"}
    assert request.targets == ("web",)
    assert caller is ROOT


@pytest.mark.parametrize(
    ("command", "members", "error"),
    [
        ("restrat", {"targets": ["web"]}, NoSuchTarget),
        ("status", {}, BadRequest),
        ("stop", {}, BadRequest),
        ("stop", {"targets": ["web"], "all": True}, BadRequest),
        ("stop", {"targets": ["web"], "arguments": {"signal": 9}}, BadRequest),
        ("daemon-reload", {"targets": ["web"]}, BadRequest),
        ("daemon-reload", {"all": True}, BadRequest),
        ("start", {"all": True}, ShuttingDown),
    ],
)
def test_what_does_not_fit_the_table_is_refused(
    command: str, members: dict[str, object], error: type[DronedError]
) -> None:
    service = Service("stop", "daemon-reload")
    with pytest.raises(error, match=r"^cannot "):
        service.ask(command, **members)
    assert service.seen == []


def test_a_reader_changes_nothing() -> None:
    service = Service("stop")
    with pytest.raises(NotAllowed, match=r"cannot stop as alice \(uid 1000\): it needs the role operate"):
        service.ask_as(READER, "stop", all=True)
    assert service.seen == []


def test_an_operator_does_not_administer() -> None:
    service = Service("stop", "scale")
    operator = Caller(actor="bob", uid=1001, role=Role.OPERATE)
    assert service.ask_as(operator, "stop", all=True) is RECEIPT
    with pytest.raises(NotAllowed):
        service.ask_as(operator, "scale", arguments={"counts": {"web": 1}})


@pytest.mark.parametrize(
    ("command", "said"), [("logs-rotate", "cannot rotate logs"), ("logs-clear", "cannot clear logs")]
)
def test_what_cannot_be_done_is_told_in_english(command: str, said: str) -> None:
    with pytest.raises(ShuttingDown, match=f"^{said}: the service"):
        Service().ask(command, targets=["web"])
    with pytest.raises(BadRequest, match=f"^{said} without a target"):
        Service().ask(command)
    with pytest.raises(NotAllowed, match=rf"^{said} as alice \(uid 1000\)"):
        Service().ask_as(READER, command, targets=["web"])


def test_a_journal_that_cannot_write_leaves_stop_and_kill() -> None:
    service = Service("start", "stop", "kill", is_degraded=True)
    with pytest.raises(Degraded, match="cannot start: the journal cannot write"):
        service.ask("start", all=True)
    service.ask("stop", all=True)
    service.ask("kill", all=True, arguments={"signal": 9})
    assert [request.command for request, _ in service.seen] == ["stop", "kill"]


def test_closed_is_closed_for_everybody() -> None:
    service = Service("stop")
    service.dispatcher.close()
    with pytest.raises(ShuttingDown, match="droned is stopping"):
        service.ask("stop", all=True)


def test_a_place_is_taken_once_and_can_be_left() -> None:
    service = Service("stop")
    with pytest.raises(ValueError, match="twice"):
        service.dispatcher.register("stop", service.take)
    with pytest.raises(ValueError, match="only reads"):
        service.dispatcher.register("status", service.take)
    with pytest.raises(NoSuchTarget):
        service.dispatcher.register("nonsense", service.take)
    service.dispatcher.unregister("stop")
    service.dispatcher.unregister("stop")
    with pytest.raises(ShuttingDown, match="does not run"):
        service.ask("stop", all=True)
