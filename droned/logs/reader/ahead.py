"""One thread that reads and decompresses what is needed next, while this one searches."""

from collections.abc import Iterator

from droned.logs.reader.reading import Window

_ALONE = 3
"""So many windows are read before a thread is worth its start."""
_DEPTH = 2


def ahead(windows: Iterator[Window]) -> Iterator[Window]:
    """The same windows. What the reading of one raises is raised here."""
    for _number in range(_ALONE):
        window = next(windows, None)
        if window is None:
            return
        yield window
    import queue
    import threading

    ready: queue.Queue[Window | BaseException | None] = queue.Queue(_DEPTH)

    def read() -> None:
        try:
            for window in windows:
                ready.put(window)
            ready.put(None)
        except BaseException as error:  # noqa: BLE001 - raised again by who takes it
            ready.put(error)

    threading.Thread(target=read, name="read ahead", daemon=True).start()
    while (taken := ready.get()) is not None:
        if isinstance(taken, BaseException):
            raise taken
        yield taken
