"""Effects that wait for the disk: in their order for each instance, and never in the way of a stop.

What a commit asks for may have to wait until the commit is on disk. Whatever
comes later for the same instance then stands behind it. There is one
exception: what waits for a journal that cannot write may wait for ever, and
`stop` and `kill` must work all the same. So their signals overtake what is
being defined; and a stop lets all signals of its instance pass, and takes
back the starts before it that nobody has been ordered to make.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Callable, Iterable, Sequence

from msgspec import Struct, field

from droned.lifecycle import inputs


class Hold(enum.Enum):
    """Whether a commit's effects wait until it is on disk."""

    NO = enum.auto()
    """They do not: the guardian's table is their record."""
    WHILE_WRITABLE = enum.auto()
    """They do, unless the journal cannot write: stops, which must always work.

    A kill -9 between the signal and the disk would make a death by our own
    TERM look like an end of the program's own.
    """
    ALWAYS = enum.auto()
    """They do, however long that takes: what is defined."""


class _Entry(Struct, kw_only=True):
    """The effects of one commit on one instance."""

    version: int
    effects: list[inputs.Effect]
    waits: bool
    is_stop: bool


class _Line(Struct):
    """What stands in line for one instance."""

    entries: deque[_Entry] = field(default_factory=deque)
    lets_signals_pass: bool = False


class HeldEffects:
    """Performs effects, or holds them until they may be performed."""

    def __init__(
        self, perform: Callable[[inputs.Effect], None], taken_back: Callable[[str, int], None]
    ) -> None:
        """`taken_back` is called with instance and run of a start that is never going to be ordered."""
        self._perform = perform
        self._taken_back = taken_back
        self._lines: dict[str, _Line] = {}

    def take(
        self, key: str, version: int, effects: Sequence[inputs.Effect], hold: Hold, *, is_stop: bool
    ) -> bool:
        """Perform these effects of the commit `version`, or hold them; whether they wait to be let go."""
        if key not in self._lines and (hold is Hold.NO or not effects):
            self._all(effects)
            return False
        entry = _Entry(version=version, effects=list(effects), waits=hold is not Hold.NO, is_stop=is_stop)
        line = self._lines.setdefault(key, _Line())
        line.entries.append(entry)
        if is_stop and not entry.waits:
            self._overtake(key, line, version)
        elif line.lets_signals_pass:
            self._all(_signals_taken_from([entry]))
        return entry.waits

    def let_go(self, keys: Iterable[str], version: int, *, is_on_disk: bool) -> None:
        """The effects of the commit `version` wait no longer: it is on disk, or cannot be put there."""
        for key in keys:
            line = self._lines.get(key)
            if line is None:
                continue
            for entry in line.entries:
                if entry.version == version:
                    entry.waits = False
            self._all(self._free(key, line))
            if key in self._lines and not is_on_disk:
                self._overtake(key, line, version)

    def _free(self, key: str, line: _Line) -> list[inputs.Effect]:
        """Take what waits for nothing any more out of the line."""
        free: list[inputs.Effect] = []
        while line.entries and not line.entries[0].waits:
            free += line.entries.popleft().effects
        if not line.entries:
            del self._lines[key]
        return free

    def _overtake(self, key: str, line: _Line, version: int) -> None:
        """What must work without the journal goes past what is being defined."""
        before = [entry for entry in line.entries if entry.version <= version]
        if not any(entry.version == version and entry.is_stop for entry in before):
            self._all(_signals_taken_from(entry for entry in before if entry.version == version))
            return
        line.lets_signals_pass = True
        starts = [effect for entry in before for effect in entry.effects if isinstance(effect, inputs.Spawn)]
        for entry in before:
            entry.effects = [effect for effect in entry.effects if not isinstance(effect, inputs.Spawn)]
        never = {start.run for start in starts}
        self._all(each for each in _signals_taken_from(line.entries) if each.run not in never)
        for start in starts:
            self._taken_back(key, start.run)

    def _all(self, effects: Iterable[inputs.Effect]) -> None:
        for effect in effects:
            self._perform(effect)


def _signals_taken_from(entries: Iterable[_Entry]) -> list[inputs.Signal]:
    signals: list[inputs.Signal] = []
    for entry in entries:
        signals += [effect for effect in entry.effects if isinstance(effect, inputs.Signal)]
        entry.effects = [effect for effect in entry.effects if not isinstance(effect, inputs.Signal)]
    return signals
