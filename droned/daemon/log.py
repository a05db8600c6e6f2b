"""droned's own log, through twisted.logger: which of it is told, in which format, and where it goes.

What happens to instances is told by the registry's events; this log says the
same in the same words, with what only concerns the daemon. A traceback goes
here and nowhere else. A log that cannot be written never stops the daemon.

With `to: file` it goes into a pipe of the daemon's own, whose read end
`droned-logs` is given. As long as that has not taken it, at the start or while
it is being replaced, every line goes to standard output as well: the pipe
keeps what it can hold, and whoever looks for the reason finds it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from twisted.logger import ILogObserver, LogLevel, LogLevelFilterPredicate, globalLogBeginner
from zope.interface import implementer

from droned.daemon.log_lines import GRAVITY, ILines, JsonLines, TextLines, is_said_again, service_of
from droned.daemon.log_output import Output, OwnPipe
from droned.models.daemon_log import SERVICES, Level, OwnLogFormat, OwnLogSettings, OwnLogTo
from droned.models.events import Event
from droned.models.registry import Commit

LEVELS: Mapping[str, Any] = {level: LogLevel.levelWithName(level) for level in Level}
QUIET = ("twisted", "log_legacy")
"""Namespaces of which only warnings and errors are of use here."""
FORMATS: Mapping[OwnLogFormat, type[TextLines] | type[JsonLines]] = {
    OwnLogFormat.TEXT: TextLines,
    OwnLogFormat.JSON: JsonLines,
}


@implementer(ILogObserver)
class DaemonLog:
    """Writes what its settings ask for; they can change at any time."""

    def __init__(self, descriptor: int = 1) -> None:
        """Over an open descriptor, standard output; with the default settings until `configure`."""
        self._standard = Output(descriptor)
        self._lines: ILines = TextLines()
        self._is_taken = False
        self._pipe: OwnPipe | None = None
        self._outputs: Sequence[Output] = (self._standard,)
        self.configure(OwnLogSettings())

    @property
    def reader(self) -> int | None:
        """The read end for `droned-logs`; None unless the log goes to files."""
        return None if self._pipe is None else self._pipe.reader

    def configure(self, settings: OwnLogSettings) -> None:
        """Put `settings` in force. Raises OSError when a pipe is asked for and there are no descriptors."""
        self._lines = FORMATS[settings.format]()
        self._least = LogLevelFilterPredicate(LEVELS[settings.level])
        for namespace in QUIET:
            self._least.setLogLevelForNamespace(namespace, max(LogLevel.warn, LEVELS[settings.level]))
        for service, level in settings.levels.items():
            for namespace in SERVICES.get(service, ()):
                self._least.setLogLevelForNamespace(namespace, LEVELS[level])
        least = {service: LEVELS[settings.levels.get(service, settings.level)] for service in SERVICES}
        self._least_of_service = least
        self._tells_every_event = all(level <= LogLevel.info for level in least.values())
        if settings.to is OwnLogTo.FILE and self._pipe is None:
            self._pipe = OwnPipe()
        elif settings.to is OwnLogTo.STDOUT and self._pipe is not None:
            self._pipe.close()
            self._pipe = None
        self._choose_outputs()

    def taken(self, is_taken: bool) -> None:
        """Whether `droned-logs` has the read end now."""
        self._is_taken = is_taken
        self._choose_outputs()

    def _choose_outputs(self) -> None:
        if self._pipe is None:
            self._is_taken = False
            self._outputs = (self._standard,)
        else:
            self._outputs = (self._pipe,) if self._is_taken else (self._pipe, self._standard)

    def __call__(self, event: dict[str, Any]) -> None:
        """Write what a logger was told, if it is grave enough; what cannot be written is dropped."""
        level = event.get("log_level") or LogLevel.info
        if level >= self._least.logLevelForNamespace(event.get("log_namespace") or ""):
            self._write(self._lines.logged(event))

    def tell(self, commit: Commit) -> None:
        """Write a commit's events: one line each, all of them at once.

        Not by way of the logger, which takes longer for an event than the
        decision that it tells of.
        """
        events: Sequence[Event] = commit.events
        if not self._tells_every_event:
            events = [event for event in events if self._is_told(event)]
        if events:
            told = (event for event in events if not is_said_again(event, events))
            self._write(self._lines.events(told, commit.moment.wall))

    def _is_told(self, event: Event) -> bool:
        return bool(LEVELS[GRAVITY.get(event.type, Level.INFO)] >= self._least_of_service[service_of(event)])

    def _write(self, content: bytes) -> None:
        for output in self._outputs:
            output.write(content, self._lines.lost)


def begin_log(descriptor: int = 1) -> DaemonLog:
    """Send everything that is logged to `descriptor` (standard output) from now on."""
    log = DaemonLog(descriptor)
    globalLogBeginner.beginLoggingTo([log], redirectStandardIO=False, discardBuffer=True)
    return log
