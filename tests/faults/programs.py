"""Compiles the small C programs of tests and benchmarks, once for each version of their text.

They stand in a cache folder (`benchmarks/.cache`, which git ignores) under a
name that carries the digest of their source, so that a changed source is a
new program and two runs at once cannot disturb each other.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = ROOT / "tests" / "programs"
CACHE = ROOT / "benchmarks" / ".cache" / "programs"


def compiler() -> str | None:
    """The C compiler of this machine, or None."""
    return next((path for name in ("gcc", "cc", "clang") if (path := shutil.which(name))), None)


def compiled(source: Path) -> Path:
    """The static program of a C source file.

    Raises RuntimeError when there is no compiler or the source does not compile.
    """
    digest = hashlib.sha256(source.read_bytes()).hexdigest()[:12]
    program = CACHE / f"{source.stem}-{digest}"
    if program.exists():
        return program
    found = compiler()
    if found is None:
        raise RuntimeError(f"cannot compile {source.name}: no C compiler here (gcc, cc or clang)")
    CACHE.mkdir(parents=True, exist_ok=True)
    fresh = program.with_suffix(f".{os.getpid()}")
    command = [found, "-std=gnu11", "-static", "-O2", "-Wall", "-Wextra", "-o", str(fresh), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"cannot compile {source.name}: {done.stderr.strip()}")
    fresh.replace(program)
    return program


def child() -> Path:
    """The program that is supervised; see the head of tests/programs/child.c."""
    return compiled(PROGRAMS / "child.c")


def observer() -> Path:
    """The program that watches the process table; see the head of tests/programs/observer.c."""
    return compiled(PROGRAMS / "observer.c")
