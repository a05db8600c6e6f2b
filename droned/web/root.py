"""The tree of the API's resources."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct
from twisted.web.resource import Resource

from droned.web.actions import Actions, Waits
from droned.web.daemon import Apps, Daemon, Issues
from droned.web.events import Events, Streams
from droned.web.instances import Instances
from droned.web.logs import Logs
from droned.web.resource import Api, Branch


class Root(Struct, frozen=True, kw_only=True):
    """The resources, and what ends the answers that would go on for ever."""

    resource: Resource
    finish: Callable[[], None]


def root(api: Api) -> Root:
    """Everything below `/`."""
    streams, waits = Streams(api.timers), Waits(api)
    version_1 = Branch(
        api,
        {
            b"instances": Instances(api),
            b"apps": Apps(api),
            b"issues": Issues(api),
            b"events": Events(api, streams),
            b"logs": Logs(api, streams),
            b"actions": Actions(api, waits),
            b"daemon": Daemon(api),
        },
    )

    def finish() -> None:
        streams.finish()
        waits.finish()

    return Root(resource=Branch(api, {b"api": Branch(api, {b"v1": version_1})}), finish=finish)
