"""What every test may ask for: `program`, a compiled C program, and `droned`, a real one of its own."""

import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest

from tests.faults import programs
from tests.running import Droned, droned_in

# A busy machine is not a fault of what is tested: speed has tests of its own.
hypothesis.settings.register_profile(
    "droned", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("droned")


def pytest_configure() -> None:
    """Have INT and QUIT do what they do in a terminal, here and in what the tests start.

    A script that puts bin/test in the background has both ignored, and that is inherited: a test that
    interrupts itself would then wait for ever.
    """
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGQUIT) == signal.SIG_IGN:
        signal.signal(signal.SIGQUIT, signal.SIG_DFL)


@pytest.fixture(scope="session")
def program() -> Callable[[str], Path]:
    """The static program of `tests/programs/NAME.c`, compiled at most once for each version of its text."""
    return lambda name: programs.compiled(programs.PROGRAMS / f"{name}.c")


@pytest.fixture
def droned() -> Iterator[Droned]:
    """A droned to be configured and started; the test fails if a process of it is left in the end.

    Its folder is short, as sockets' paths have to be, and open to all, as apps may run as anybody.
    """
    folder = Path(tempfile.mkdtemp(prefix="droned-test-"))
    folder.chmod(0o755)
    try:
        with droned_in(folder) as made:
            yield made
    finally:
        shutil.rmtree(folder, ignore_errors=True)
