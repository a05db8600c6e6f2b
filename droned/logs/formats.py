"""Lines of a program in another format, in bulk: all lines that were captured in one tick have its time."""

import json
import time

STAMPED, JSON = "stamped", "json"
DERIVED = {STAMPED: "stamped.log", JSON: "jsonl"}
"""What the name of a file in this format ends with, after that of the stream."""
_NOT_PLAIN = bytes([*range(10), *range(11, 32), ord('"'), ord("\\"), *range(127, 256)])


def stamp(time_us: int) -> bytes:
    """A time in milliseconds, as RFC 3339 has it."""
    second, rest = divmod(time_us, 1_000_000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second)).encode("ascii") + b".%03dZ" % (
        rest // 1000
    )


def stamped(lines: bytes, time_us: int) -> bytes:
    """`lines`, whole ones, each with the time before it."""
    head = stamp(time_us) + b" "
    return head + lines[:-1].replace(b"\n", b"\n" + head) + b"\n"


def as_json(lines: bytes, time_us: int, instance: str, run: int | None, stream: str) -> bytes:
    """`lines`, whole ones, each as an object; bytes that are no UTF-8 become lone surrogates."""
    fields = {"at": stamp(time_us).decode("ascii"), "instance": instance}
    if run is not None:
        fields["run"] = run  # type: ignore[assignment]  # the only number in it
    fields |= {"stream": stream, "line": ""}
    head = json.dumps(fields, separators=(",", ":"))[:-2].encode("ascii")
    if len(lines.translate(None, _NOT_PLAIN)) == len(lines):
        return head + lines[:-1].replace(b"\n", b'"}\n' + head) + b'"}\n'
    start = head[:-1]
    return b"".join(
        b"%b%b}\n" % (start, json.dumps(line.decode("utf-8", "surrogateescape")).encode("ascii"))
        for line in lines[:-1].split(b"\n")
    )
