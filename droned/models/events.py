"""Events: what happened, once, with a cause and an actor; and the one table of their types.

A new type is a new member here with its meaning; the documentation's table is
drawn from it. Names are the ancestor's where they fit.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType

from msgspec import Struct, field

NO_FACTS: Mapping[str, object] = MappingProxyType({})


class EventType(enum.StrEnum):
    """Every type of event, as it is written in JSON."""

    INSTANCE_STARTING = "instance-starting"
    INSTANCE_STARTED = "instance-started"
    INSTANCE_STOPPING = "instance-stopping"
    INSTANCE_STOPPED = "instance-stopped"
    INSTANCE_CRASHED = "instance-crashed"
    INSTANCE_EXITED = "instance-exited"
    INSTANCE_BACKOFF = "instance-backoff"
    INSTANCE_FAILED = "instance-failed"
    INSTANCE_FOUND = "instance-found"
    INSTANCE_LOST = "instance-lost"
    INSTANCE_ENABLED = "instance-enabled"
    INSTANCE_DISABLED = "instance-disabled"
    INSTANCE_SIGNALLED = "instance-signalled"
    INSTANCE_REMOVED = "instance-removed"
    APP_CHANGED = "app-changed"
    CONFIGURATION_LOADED = "configuration-loaded"
    CONFIGURATION_REFUSED = "configuration-refused"
    ISSUE_OPENED = "issue-opened"
    ISSUE_CLOSED = "issue-closed"
    COMMAND_ACCEPTED = "command-accepted"
    ACTION_ENDED = "action-ended"
    SERVICE_STARTED = "service-started"
    SERVICE_FAILED = "service-failed"
    SERVER_STARTED = "server-started"
    SERVER_STOPPING = "server-stopping"
    GUARDIAN_REPLACED = "guardian-replaced"
    JOURNAL_ERROR = "journal-error"
    JOURNAL_RECOVERED = "journal-recovered"


MEANINGS: Mapping[EventType, str] = MappingProxyType(
    {
        EventType.INSTANCE_STARTING: "a process was ordered for the instance",
        EventType.INSTANCE_STARTED: "the instance is running",
        EventType.INSTANCE_STOPPING: "the instance was asked to stop, or the rest of its tree is being ended",
        EventType.INSTANCE_STOPPED: "nothing of the instance's process tree is left, as was asked",
        EventType.INSTANCE_CRASHED: "the instance ended by itself and its policy calls that a failure",
        EventType.INSTANCE_EXITED: "the instance ended by itself and its policy leaves it so",
        EventType.INSTANCE_BACKOFF: "the next start is a timer away",
        EventType.INSTANCE_FAILED: "droned gave up on the instance; an issue is open",
        EventType.INSTANCE_FOUND: "a process that was there before this daemon was taken over",
        EventType.INSTANCE_LOST: "the instance's process is gone and nobody saw how it ended",
        EventType.INSTANCE_ENABLED: "droned may restart the instance by itself again",
        EventType.INSTANCE_DISABLED: "droned may no longer restart the instance by itself",
        EventType.INSTANCE_SIGNALLED: "a signal was sent on request",
        EventType.INSTANCE_REMOVED: "the instance left the configuration and is gone",
        EventType.APP_CHANGED: "the app's configuration changed",
        EventType.CONFIGURATION_LOADED: "a configuration was read and is in force",
        EventType.CONFIGURATION_REFUSED: "a configuration was refused whole; the last good one stays",
        EventType.ISSUE_OPENED: "something needs a person's look",
        EventType.ISSUE_CLOSED: "the cause of an issue is gone",
        EventType.COMMAND_ACCEPTED: "a changing command was accepted",
        EventType.ACTION_ENDED: "what a command set going has ended",
        EventType.SERVICE_STARTED: "a service of the daemon runs",
        EventType.SERVICE_FAILED: "a service of the daemon failed; the rest runs on",
        EventType.SERVER_STARTED: "droned is in control of this host",
        EventType.SERVER_STOPPING: "droned stops everything in order",
        EventType.GUARDIAN_REPLACED: "the guardian was lost and a new one is in its place",
        EventType.JOURNAL_ERROR: "the journal could not write, or held damage",
        EventType.JOURNAL_RECOVERED: "the journal writes again",
    }
)


class Occurrence(Struct, frozen=True, kw_only=True):
    """An event as a decision states it: before it has a version, an actor and a cause."""

    type: EventType
    subject: str
    """`web/0`, `app web`, `service journal`, `server`: what it happened to."""
    text: str
    data: Mapping[str, object] = field(default_factory=lambda: NO_FACTS)


class Event(Struct, frozen=True, kw_only=True):
    """An event as it is remembered, streamed and printed."""

    version: int
    index: int
    """Place among the events of its version, from 0; the stream's id is `version.index`."""
    at: float
    type: EventType
    subject: str
    actor: str
    cause: int
    """The version that caused it; 0 is none."""
    text: str
    data: Mapping[str, object] = field(default_factory=lambda: NO_FACTS)
