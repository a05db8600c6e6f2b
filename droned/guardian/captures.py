"""The read ends of what programs write: kept until all of it is in a file, and what is to be said of them.

Ours and that of `droned-logs` are copies of one end. Ours is closed only when
`droned-logs` has said `drained`; so whatever it dies of and when, the next one
gets all that is not in a file. The same goes for ends of runs and for
instances that are forgotten: they are told again to the next one unless a
ping that came after them was answered.

What is captured of an instance (names of streams, policy) is in the ledger: a
line before the first launch that differs from the one before, none for each
launch. With it a guardian that has lost everything knows which programs write
into pipes of ours, and reopens those of the living at /proc/PID/fd. Our pipes
are known there by how they are open: for reading and writing, as no other is.

Where descriptors are few, what `droned-logs` or a living program has can be
left with them: it is reopened when the next `droned-logs` has to be told of it.
"""

import os
import stat
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from droned.guardian import brief, ledger, log, processes
from droned.guardian.descriptors import Descriptors
from droned.guardian.ledger import Capturing
from droned.guardian.runs import Key, Run
from droned.guardian.wire import Launch, Message

STREAMS = ("stdout", "stderr", "output")
_NUMBERS = {"stdout": (1,), "stderr": (2,), "output": (1, 2)}
_MOST_ENDED = 4000
_MOST_MESSAGES = 100_000
_ROOM = 96  # what the launches that are going on may take before room is made
_FEW, _FREE = 4, 512  # room is not counted while at most a fourth is taken, and so many are free
_FILLING_BYTES = 16 * 1024
_NOTHING: Capturing = ((), "")
_FIELDS = ("instance", "run", "stream", "policy", "at", "fd", "has_begun", "has_ended")


class Kept:
    """The read end of one stream of one run."""

    __slots__ = ("at", "fd", "has_begun", "has_ended", "instance", "policy", "run", "stream")

    def __init__(self, instance: str, run: int, stream: str, policy: str, fd: int, at: float = 0.0) -> None:
        self.instance = instance
        self.run = run
        self.stream = stream
        self.policy = policy
        self.fd = fd
        """-1: `droned-logs` or the program has it, there was no room here."""
        self.at = at
        self.has_begun = False
        """Whether the program runs; before that there is nothing to tell."""
        self.has_ended = False

    @property
    def name(self) -> str:
        """What names it, over all runs."""
        return _name(self.instance, self.run, self.stream)

    def message(self) -> Message:
        """What `droned-logs` is told of it, beside the descriptor."""
        return {
            "type": "capture",
            "name": self.name,
            "instance": self.instance,
            "run": self.run,
            "stream": self.stream,
            "policy": self.policy,
            "at": self.at,
            "fds": 1,
        }


class Captures:
    """All read ends that are kept, and what `droned-logs` has still to be told."""

    def __init__(self, descriptors: Descriptors) -> None:
        self._descriptors = descriptors
        self.kept: dict[str, Kept] = {}
        self.policies: dict[str, Capturing] = {}
        """By instance: what is captured of its last launch."""
        self.untold: deque[Kept | Message] = deque()
        self._unconfirmed: deque[Message] = deque(maxlen=_MOST_MESSAGES)
        self._asked = 0
        self._low: list[Kept] = []
        self.is_heard = False
        """Whether a `droned-logs` listens."""
        self.are_crowded = False
        """Whether what is launched next may find no room before `make_room`."""

    # ---- launches

    def ordered(self, launches: Iterable[tuple[str, Launch]]) -> bytes:
        """These launches are next: the lines that the ledger needs before them, mostly none."""
        lines = []
        for instance, launch in launches:
            wanted: Capturing = _NOTHING
            if "logs" in launch:
                streams = dict.fromkeys((launch["stdout"], launch["stderr"]))
                wanted = (tuple(streams), launch["logs"])
            if self.policies.get(instance, _NOTHING) != wanted:
                self._note(instance, wanted)
                lines.append(ledger.captured_line(instance, wanted))
        return b"".join(lines)

    def _note(self, instance: str, wanted: Capturing) -> None:
        if wanted == _NOTHING:
            self.policies.pop(instance, None)
        else:
            self.policies[instance] = wanted

    def keep(self, run: Run, policy: str, readers: Mapping[str, int]) -> None:
        """Take the read ends of a run whose program may be running soon: stream → descriptor."""
        for stream, fd in readers.items():
            made = Kept(run.instance, run.run, stream, policy, fd, run.at)
            self.kept[made.name] = made
            if self._descriptors.takes_room(fd):
                self._low.append(made)
                soft, _ = self._descriptors.soft_and_hard
                self.are_crowded |= fd >= soft - max(soft // 4, _ROOM)

    @property
    def need_room(self) -> bool:
        """Whether some are to be put above the limit of apps."""
        return bool(self._low)

    def make_room(self) -> None:
        """Put up all that take room. Best while no program is being born: it would get the raised limit."""
        low = [kept for kept in self._low if kept.fd >= 0 and self._descriptors.takes_room(kept.fd)]
        self.are_crowded = False
        for kept, fd in zip(low, self._descriptors.put_all_up([kept.fd for kept in low]), strict=True):
            kept.fd = fd
        self._low = [kept for kept in low if self._descriptors.takes_room(kept.fd)]  # later, perhaps

    def fit(self, streams: int, others: int) -> bool:
        """Whether so many more streams can be captured, while so many `others` descriptors are to come."""
        if len(self.kept) + streams > self._descriptors.most_captured:
            return False
        if _FEW * len(self.kept) + _FREE < self._descriptors.border:
            return True  # without counting
        return self._descriptors.have_room(streams + others)

    def make_way(self, count: int) -> None:
        """Leave so many of living programs to `droned-logs`, which has them too, as the programs have."""
        if not self.is_heard:
            return
        untold = {what.name for what in self.untold if isinstance(what, Kept)}
        soft, _ = self._descriptors.soft_and_hard
        for kept in self.kept.values():
            is_living = kept.has_begun and not kept.has_ended
            if count > 0 and is_living and 0 <= kept.fd < soft and kept.name not in untold:
                os.close(kept.fd)
                kept.fd = -1
                count -= 1

    def began(self, run: Run) -> None:
        """Its program runs."""
        for kept in self._of(run.key):
            kept.at, kept.has_begun = run.at, True
            self.untold.append(kept)

    def failed(self, key: Key) -> None:
        """There is no program, and none will come."""
        for kept in list(self._of(key)):
            self._close(kept.name)

    def ended(self, run: Run, at: float) -> None:
        """The main process of a run is gone."""
        if run.instance not in self.policies:
            return
        for kept in self._of(run.key):
            kept.has_ended = True
        self._say(
            {
                "type": "run_ended",
                "instance": run.instance,
                "run": run.run,
                "status": run.status,
                "at": at,
            }
        )

    def forget(self, instance: str) -> None:
        """The instance is gone for good."""
        self.policies.pop(instance, None)
        self._say({"type": "forget", "instance": instance})

    def _say(self, message: Message) -> None:
        if len(self.untold) < _MOST_MESSAGES:
            self.untold.append(message)

    def _of(self, key: Key) -> Iterator[Kept]:
        for stream in STREAMS:
            kept = self.kept.get(_name(*key, stream))
            if kept is not None:
                yield kept

    # ---- what droned-logs is told, and tells

    def are_filling(self) -> bool:
        """Whether a program that nobody reads from yet has written so much that it may soon have to wait."""
        return any(
            brief.bytes_in(each.fd) >= _FILLING_BYTES
            for each in self.untold
            if isinstance(each, Kept) and each.fd >= 0
        )

    def tell_all_again(self, known: Iterable[str] = ()) -> None:
        """Another `droned-logs` listens, which has the streams in `known` already."""
        messages = [*self._unconfirmed, *(each for each in self.untold if not isinstance(each, Kept))]
        left_out = set(known)
        begun = (kept for kept in self.kept.values() if kept.has_begun and kept.name not in left_out)
        self.untold = deque([*begun, *messages])
        self._unconfirmed.clear()
        self._asked = 0

    def told(self, message: Message) -> None:
        """This message is on its way."""
        self._unconfirmed.append(message)

    def asked(self) -> None:
        """A ping follows all that was told."""
        self._asked = len(self._unconfirmed)

    def answered(self) -> None:
        """And it was answered: all that was told before it has arrived."""
        for _ in range(min(self._asked, len(self._unconfirmed))):
            self._unconfirmed.popleft()
        self._asked = 0

    def drained(self, names: Iterable[str]) -> None:
        """All that was written to these streams, by whomever, is in files."""
        for name in names:
            self._close(name)

    def take(self, message: Any, fd: int) -> None:
        """A stream that a `droned-logs` from before us captures."""
        if message["name"] in self.kept:
            os.close(fd)
            return
        taken = Kept(message["instance"], message["run"], message["stream"], message["policy"], -1)
        taken.at, taken.has_begun = message["at"], True
        taken.fd = self._unless_reserved(self._descriptors.put_up(fd))
        self.kept[message["name"]] = taken

    def _unless_reserved(self, fd: int) -> int:
        if not self._descriptors.is_reserved(fd):
            return fd
        os.close(fd)
        return -1

    def _close(self, name: str) -> None:
        kept = self.kept.pop(name, None)
        if kept is not None:
            if kept.fd >= 0:
                os.close(kept.fd)
            kept.fd = -1

    def drop_oldest(self) -> None:
        """There is nobody who reads: of runs that have ended only so many are kept."""
        ended = [kept for kept in self.kept.values() if kept.has_ended]
        most = min(_MOST_ENDED, self._descriptors.soft_and_hard[1] // 2)
        for kept in ended[: max(0, len(ended) - most)]:
            log.say(f"cannot keep what {kept.instance} has written last ({kept.name}): nobody takes it")
            self._close(kept.name)
        if len(ended) > most:
            self.untold = deque(each for each in self.untold if not isinstance(each, Kept) or each.fd >= 0)

    # ---- found again

    def find(self, living: Iterable[Run]) -> None:
        """Reopen what living programs write to and nobody holds."""
        for run in living:
            streams, policy = self.policies.get(run.instance, _NOTHING)
            if not run.pid or any(self._of(run.key)):
                continue
            found: dict[str, int] = {}
            for stream in streams:
                fd = _reopened(run, _NUMBERS.get(stream, ()), list(found.values()))
                if fd >= 0:
                    found[stream] = fd
            if len(found) < len(streams):
                log.say(f"cannot find all that {run.instance} writes to: {len(found)} of {len(streams)}")
            self.keep(run, policy, found)
            for kept in self._of(run.key):
                kept.fd = self._unless_reserved(self._descriptors.put_up(kept.fd))
                kept.has_begun = True
                self.untold.append(kept)

    def reopened(self, kept: Kept, run: Run) -> int:
        """Another copy of one that is elsewhere, to be closed by the caller; -1 where there is none."""
        if not run.pid:
            return -1
        others = [each.fd for each in self._of(run.key) if each.fd >= 0]
        return _reopened(run, _NUMBERS.get(kept.stream, ()), others)

    # ---- over a re-exec

    def saved(self) -> dict[str, object]:
        """The argument for `resume`, as JSON takes it."""
        kept = [[getattr(each, field) for field in _FIELDS] for each in self.kept.values()]
        unsaid = [each for each in self.untold if not isinstance(each, Kept)]
        return {"kept": kept, "policies": self.policies, "messages": [*self._unconfirmed, *unsaid]}

    def resume(self, saved: Mapping[str, Any]) -> None:
        """Be as those that gave `saved`; all is told again to the next `droned-logs`."""
        for values in saved["kept"]:
            fields = dict(zip(_FIELDS, values, strict=True))
            kept = Kept(*(fields[field] for field in ("instance", "run", "stream", "policy", "fd", "at")))
            kept.has_begun, kept.has_ended = fields["has_begun"], fields["has_ended"]
            self.kept[kept.name] = kept
        for instance, (streams, policy) in saved["policies"].items():
            self.policies[instance] = (tuple(streams), policy)
        self._unconfirmed.extend(saved["messages"])


def descriptors_in(saved: Mapping[str, Any]) -> list[int]:
    """The descriptors that have to stay open for saved captures."""
    at = _FIELDS.index("fd")
    return [values[at] for values in saved.get("kept", ()) if values[at] >= 0]


def _name(instance: str, run: int, stream: str) -> str:
    return f"{instance}:{run}:{stream}"


def _reopened(run: Run, numbers: Iterable[int], others: Iterable[int]) -> int:
    """A read end of the pipe of ours that a process has open under one of `numbers`, -1 without."""
    taken = {os.fstat(fd).st_ino for fd in others}
    for number in numbers:
        if not _is_ours(run.pid, number):
            continue
        try:
            fd = os.open(f"/proc/{run.pid}/fd/{number}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            continue
        status = os.fstat(fd)
        is_same = stat.S_ISFIFO(status.st_mode) and status.st_ino not in taken
        if is_same and processes.start_time(run.pid) == run.start_time:
            return fd
        os.close(fd)
    return -1


def _is_ours(pid: int, number: int) -> bool:
    """Whether it is a pipe that is open for both directions: the app's own are not."""
    try:
        if not os.readlink(f"/proc/{pid}/fd/{number}").startswith("pipe:["):
            return False
    except OSError:
        return False
    for line in (processes.read(f"/proc/{pid}/fdinfo/{number}") or b"").splitlines():
        if line.startswith(b"flags:"):
            return int(line.split()[1], 8) & os.O_ACCMODE == os.O_RDWR
    return False
