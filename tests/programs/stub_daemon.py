"""A daemon without a will of its own: says what the test says, tells the test what it hears.

Connects to the Unix socket argv[1] anew in each life and speaks JSON lines there:
first who it is, then every message of the guardian. Lines from the test are
`{"send": message, "fd": path}` or `{"do": "exit" | "mute" | "loud", …}`.
"""

import json
import os
import selectors
import socket
import sys
from typing import Any

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from droned.guardian import wire


def main() -> None:
    """Relay until the guardian or the test hangs up."""
    guardian = socket.socket(fileno=int(os.environ["DRONED_GUARDIAN_FD"]))
    guardian.setblocking(False)
    test = socket.socket(socket.AF_UNIX)
    test.connect(sys.argv[1])
    reader, outbox = wire.to_daemon(), wire.Outbox()
    muted = False
    if "--silent" not in sys.argv:
        outbox.add(wire.Hello(type="hello", protocol=1, release="0", pid=os.getpid(), head=None))
        outbox.add(wire.Ready(type="ready"))
        outbox.flush(guardian)
    tell(test, {"pid": os.getpid(), "env": dict(os.environ)})
    waits = selectors.DefaultSelector()
    waits.register(guardian, selectors.EVENT_READ)
    waits.register(test, selectors.EVENT_READ)
    rest = b""
    while True:
        for key, _ in waits.select():
            if key.fileobj is guardian:
                for message, fds in reader.receive(guardian) or sys.exit(0):
                    if message["type"] == "ping":
                        if not muted:
                            outbox.add(wire.Pong(type="pong", n=message["n"]))
                        continue
                    if fds:
                        message["content"] = os.pread(fds[0], 100, 0).decode()
                        os.close(fds[0])
                    tell(test, message)
            else:
                chunk = test.recv(1 << 20)
                if not chunk:
                    sys.exit(0)
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    order = json.loads(line)
                    if "send" in order:
                        send(outbox, order)
                    elif order["do"] == "exit":
                        outbox.flush(guardian)
                        os._exit(order["code"])
                    else:
                        muted = order["do"] == "mute"
        outbox.flush(guardian)


def send(outbox: wire.Outbox, order: dict[str, Any]) -> None:
    """Send what the test says, a file or a large launch as descriptor."""
    message = order["send"]
    fds = []
    if "fd" in order:
        fds.append(os.open(order["fd"], os.O_RDONLY))
    if order.get("memfd"):
        fds.append(wire.launch_in_memfd(message["launch"]))
        message = {**message, "launch": None}
    outbox.add({**message, "fds": len(fds)} if fds else message, fds)
    for fd in fds:
        os.close(fd)


def tell(test: socket.socket, message: object) -> None:
    """One line for the test."""
    test.sendall(json.dumps(message).encode() + b"\n")


main()
