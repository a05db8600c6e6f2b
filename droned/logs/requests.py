"""The requests of the control socket, checked and done."""

import os
import stat
import time
from typing import TYPE_CHECKING, Any

from droned.logs import log
from droned.logs.control import Answer, RequestError
from droned.logs.format import last_named
from droned.logs.policy import Policy, PolicyError, policy_of
from droned.logs.streams import Instance, delete_beside, is_instance

if TYPE_CHECKING:
    from droned.logs.capture import Capture

_ROWS_A_PACKET = 150


class Requests:
    """What clients ask of a capture."""

    __slots__ = ("_capture",)

    def __init__(self, capture: "Capture") -> None:
        self._capture = capture

    def do(self, request: dict[str, Any], fds: list[int]) -> Answer:
        """Do one request; its answers, None where there is none. Raises RequestError."""
        kind = request.get("do")
        try:
            match kind:
                case "settings":
                    return self._settings(request)
                case "rotate":
                    return self._rotate(request)
                case "clear":
                    return self._clear(request)
                case "usage":
                    return self._usage()
                case "own":
                    return self._own(request, fds)
        finally:
            for fd in fds:
                os.close(fd)
        raise RequestError(f"cannot do {kind!r:.40}")

    def _settings(self, request: dict[str, Any]) -> Answer:
        total = request.get("total_bytes")
        if total is not None and (type(total) is not int or total < 1):
            raise RequestError(f"cannot take total_bytes = {total!r:.40}")
        policies = request.get("policies", {})
        if type(policies) is not dict:
            raise RequestError("cannot take policies that are no object")
        self._capture.settle(total, {name: _policy(values) for name, values in policies.items()})
        return [{}] if "id" in request else None

    def _instances(self, request: dict[str, Any]) -> list[Instance]:
        names = request.get("instances")
        if type(names) is not list or not all(type(name) is str for name in names):
            raise RequestError("cannot find the list of instances")
        known = self._capture.instances
        return [known[name] for name in names if name in known]

    def _rotate(self, request: dict[str, Any]) -> Answer:
        rotated = 0
        for instance in self._instances(request):
            for stream in instance.streams:
                rotated += self._capture.mover.rotate(stream)
        return [{"rotated": rotated}]

    def _clear(self, request: dict[str, Any]) -> Answer:
        return [{"bytes": sum(self._clear_one(instance) for instance in self._instances(request))}]

    def _clear_one(self, instance: Instance) -> int:
        capture = self._capture
        size = 0
        for stream in instance.streams:
            capture.mover.rotate(stream)
            for segment in list(stream.kept):
                size += capture.shelf.delete(segment, at_once=True)
            size += delete_beside(stream)
            capture.shelf.look_at_copies(stream)
        try:
            for name in os.listdir(instance.folder):
                if last_named(name) is not None:
                    size += os.stat(f"{instance.folder}/{name}").st_size
                    os.unlink(f"{instance.folder}/{name}")
        except FileNotFoundError:
            pass
        except OSError as error:
            log.say(f"cannot clear {instance.folder}: {error.strerror}")
        capture.index.fact({"fact": "cleared", "instance": instance.name})
        capture.derived.begin_anew(instance.streams)
        capture.mover.soon()
        return size

    def _usage(self) -> Answer:
        shelf = self._capture.shelf
        while shelf.look():
            pass
        shelf.look_at_all_copies()
        rows = {instance.name: _usage_of(instance) for instance in self._capture.instances.values()}
        names = list(rows)
        answers: list[dict[str, Any]] = []
        for first in range(0, max(len(names), 1), _ROWS_A_PACKET):
            answers.append(
                {"instances": {name: rows[name] for name in names[first : first + _ROWS_A_PACKET]}}
            )
        answers[-1] |= {
            "index_bytes": self._capture.index.size_bytes,
            "total_bytes": shelf.bytes,
            "last": True,
        }
        return answers

    def _own(self, request: dict[str, Any], fds: list[int]) -> Answer:
        name = request.get("instance")
        if type(name) is not str or not is_instance(name):
            raise RequestError(f"cannot capture for {name!r:.80}")
        if len(fds) != 1:
            raise RequestError(f"cannot capture from {len(fds)} descriptors")
        policy = _policy(request.get("policy", {}))
        try:
            if not stat.S_ISFIFO(os.fstat(fds[0]).st_mode):
                raise RequestError("cannot capture from what is no pipe")
            os.set_blocking(fds[0], False)
            self._capture.own(fds[0], name, policy)
        except OSError as error:
            raise RequestError(f"cannot capture from that descriptor: {error.strerror}") from error
        fds.clear()  # it is the capture's now
        return [{}] if "id" in request else None


def _policy(values: object) -> Policy:
    try:
        return policy_of(values)
    except PolicyError as error:
        raise RequestError(str(error)) from error


def _usage_of(instance: Instance) -> dict[str, int | str]:
    row: dict[str, int | str] = {
        "bytes": sum(stream.held_bytes for stream in instance.streams),
        "segments": sum(len(stream.kept) + (stream.active_bytes > 0) for stream in instance.streams),
        "lost_bytes": sum(stream.lost_ever for stream in instance.streams),
    }
    if row["lost_bytes"]:
        row["lost_ago_s"] = int(time.monotonic() - max(stream.lost_at for stream in instance.streams))
    for stream in instance.streams:
        if stream.trouble:
            row["trouble"] = stream.trouble
    return row
