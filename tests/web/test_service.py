"""The service and its registration."""

from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet.interfaces import IReadDescriptor
from zope.interface.verify import verifyClass, verifyObject

from droned.commands.callers import Peer
from droned.commands.table import Role
from droned.drivers.local_socket import LocalPort
from droned.errors import NotNow
from droned.models.policy import DaemonSettings
from droned.models.ports import IServicePlugin
from droned.services.api import ApiService, LocalVisitor, UserNames, plugin
from tests.web.harness import InlinePool, Place, ScriptedLogs, SteppedPool


def visited(peer: Peer | None, names: UserNames) -> list[Any]:
    """The caller that a visitor comes to be, once that is known."""
    found: list[Any] = []

    async def ask() -> None:
        found.append(await LocalVisitor(peer, Role.ADMIN, names).caller())

    Place()._run(ask(), "asking")
    return found


def test_the_service_is_a_plugin_like_any_other() -> None:
    verifyObject(IServicePlugin, plugin)
    verifyClass(IReadDescriptor, LocalPort)
    assert (plugin.name, plugin.needs) == ("api", ())


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        (None, []),
        ("/run/droned/droned.sock", []),
        ("run.sock", ['cannot listen on "run.sock": the path of the socket must be absolute']),
        (
            "/" + "x" * 107,
            [f"cannot listen on /{'x' * 107}: a socket's path has at most 107 bytes"],
        ),
    ],
)
def test_the_sockets_path_is_checked(path: str | None, problem: list[str]) -> None:
    assert plugin.check(DaemonSettings(socket=path)) == problem


def test_the_plugin_makes_the_service_of_what_the_context_has() -> None:
    place = Place()
    context: Any = SimpleNamespace(
        registry=place.registry,
        dispatcher=place.dispatcher,
        journal=place.journal,
        clock=place.clock,
        timers=place.clock,
        reactor=place.clock.reactor,
        pool=InlinePool(),
        run=place._run,
        socket_path="/run/droned.sock",
        server_name="web1",
        daemon_status=dict,
        log_paths=lambda key: {},
        output_begins=lambda key: [],
        logs=ScriptedLogs(),
    )
    service = plugin.make(context)
    assert isinstance(service, ApiService)
    assert service.note == "/run/droned.sock, 0 connections"
    # Each life of the daemon makes its own, and none takes another's answers for its own.
    assert service._status.etag != plugin.make(context)._status.etag


def test_a_name_is_looked_up_once_and_off_the_reactor() -> None:
    pool = SteppedPool()
    names = UserNames(pool)
    peer = Peer(uid=54321, gid=54321, groups=frozenset())
    found = visited(peer, names)
    assert found == []
    pool.step()
    assert found[0].actor == "uid 54321"
    assert found[0].uid == 54321
    assert visited(peer, names)[0].actor == "uid 54321"
    assert pool.waiting == []


def test_root_is_known_without_looking() -> None:
    assert visited(Peer(uid=0, gid=0, groups=frozenset()), UserNames(SteppedPool()))[0].actor == "root"


def test_a_kernel_that_does_not_tell_leaves_the_name_open() -> None:
    caller = visited(None, UserNames(SteppedPool()))[0]
    assert (caller.actor, caller.uid, caller.role) == ("somebody on this host", None, Role.ADMIN)


def test_a_pool_with_too_much_to_do_costs_only_the_name() -> None:
    class FullPool(InlinePool):
        def run(self, *unused: object, **unused_too: object) -> Any:
            raise NotNow("cannot run work")

    names = UserNames(FullPool())
    assert visited(Peer(uid=7, gid=7, groups=frozenset()), names)[0].actor == "uid 7"
