"""`/apps`, `/issues` and `/daemon`: what is configured, what needs a look, how droned itself is."""

from __future__ import annotations

from collections import Counter

from droned.models.records import ServerRecord
from droned.web.request import Answer, ApiRequest, answer
from droned.web.resource import ApiResource, Query
from droned.web.shapes import app_shape, issue_shape


class Apps(ApiResource):
    """What is configured."""

    command = "apps"

    def get(self, request: ApiRequest, query: Query) -> Answer:
        """Every app in the order of the configuration."""
        snapshot = self.api.registry.snapshot()
        counts = Counter(record.app for record in snapshot.instances.values())
        apps = [app_shape(record, counts[record.name]) for record in snapshot.apps.values()]
        return answer({**self.api.head(), "apps": apps})


class Issues(ApiResource):
    """What a person must look at."""

    command = "issues"

    def get(self, request: ApiRequest, query: Query) -> Answer:
        """Every open issue, oldest first."""
        issues = self.api.registry.snapshot().issues.values()
        return answer({**self.api.head(), "issues": [issue_shape(each) for each in issues]})


class Daemon(ApiResource):
    """How droned itself is."""

    command = "daemon-status"

    def get(self, request: ApiRequest, query: Query) -> Answer:
        """What the registry knows, and what the daemon says of itself, which wins."""
        server = self.api.registry.records("server").get("server")
        return answer(
            {
                "server": self.api.server,
                "boot_id": server.boot_id if isinstance(server, ServerRecord) else None,
                "issues": len(self.api.registry.records("issue")),
                "registry_version": self.api.registry.version,
                **self.api.daemon_status(),
            }
        )
