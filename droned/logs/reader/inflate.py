"""Members of compressed segments, decompressed by threads: zlib does without Python's lock."""

import queue
import threading
import zlib

_THREADS = 2


def inflate(content: bytes, size: int) -> bytes:
    """The text of one gzip member; empty where it is damaged."""
    try:
        text = zlib.decompress(content, wbits=31, bufsize=max(1, size))
    except zlib.error:
        return b""
    return text if len(text) == size else b""


class Inflating:
    """One member that is being decompressed, by one of a few threads that begin with the first."""

    _waiting: "queue.SimpleQueue[Inflating] | None" = None

    __slots__ = ("_content", "_done", "_size", "_text")

    def __init__(self, content: bytes, size: int) -> None:
        self._content = content
        self._size = size
        self._text = b""
        self._done = threading.Event()
        if Inflating._waiting is None:
            Inflating._waiting = queue.SimpleQueue()
            for number in range(_THREADS):
                threading.Thread(
                    target=_work, args=(Inflating._waiting,), name=f"inflate {number}", daemon=True
                ).start()
        Inflating._waiting.put(self)

    def text(self) -> bytes:
        """Its text, waited for."""
        self._done.wait()
        return self._text

    def run(self) -> None:
        """Decompress it."""
        self._text = inflate(self._content, self._size)
        self._content = b""
        self._done.set()


def _work(waiting: "queue.SimpleQueue[Inflating]") -> None:
    while True:
        waiting.get().run()
