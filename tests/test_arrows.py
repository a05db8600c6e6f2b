"""The import arrows of the design and the calls that never come in, read from the source text.

The table is the design's own: what stands on a line may import what stands on the lines above it, and never
its neighbour on the same line. Imports inside functions and under `TYPE_CHECKING` count like any other.
"""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# errors < models < lifecycle < config < plan < commands < journal, protocols, rollout < drivers, …
LAYERS: tuple[tuple[str, ...], ...] = (
    ("errors",),
    ("models",),
    ("lifecycle",),
    ("config",),
    ("plan",),
    ("commands",),
    ("journal", "protocols", "rollout"),
    ("drivers", "web", "nexus"),
    ("services",),
    ("daemon",),
)

# What stands beside the layers, with all that it may import of droned.
BESIDE: dict[str, tuple[str, ...]] = {
    "ctl": ("droned.errors", "droned.models", "droned.commands", "droned.protocols.signing"),
    "client": ("droned.errors", "droned.models", "droned.commands", "droned.protocols.signing"),
    "guardian": ("droned.guardian.wire",),
    "logs": ("droned.guardian.wire", "droned.logs.format"),
    "demo": ("droned.errors", "droned.models"),
}

# Arrows that the layers alone would forbid: module or package → what it may import besides.
GRANTED: dict[str, tuple[str, ...]] = {
    "droned.drivers": ("droned.guardian.wire", "droned.logs.format"),
    "droned.daemon": ("droned.demo",),
    "droned.ctl.validate": ("droned.config",),
    "droned.ctl.schema": ("droned.config",),
    "droned.ctl.init": ("droned.config",),
    "droned.ctl.import_": ("droned.config",),
    "droned.ctl.export": ("droned.config",),
}

# "Everything up to commands": decides and never touches the world.
PURE = ("errors", "models", "lifecycle", "config", "plan", "commands")
IMPURE_MODULES = ("twisted", "os", "socket", "time", "random", "threading")
WITHOUT_TWISTED = (*PURE, "ctl", "client", "guardian", "logs", "demo")
STANDARD_LIBRARY_ONLY = ("guardian", "logs", "demo")

YAML_MODULES = ("droned.config.loader",)
REACTOR_MODULES = ("droned.daemon.main",)

LONGEST_FILE = 450
BANNED_MODULES = ("pickle", "cPickle", "marshal", "shelve", "dill", "cloudpickle")
BANNED_BUILTINS = ("eval", "exec")
BANNED_ATTRIBUTES = (
    *(
        ("yaml", name)
        for name in ("load", "load_all", "unsafe_load", "unsafe_load_all", "full_load", "full_load_all")
    ),
    ("os", "system"),
    ("os", "popen"),
)


def module_name(path: Path) -> str:
    """The dotted name of the module in file `path`, below the root of the repository."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"), str(path))


def python_files(*folders: str) -> list[Path]:
    """The Python files below `folders`; folders that begin with a dot hold caches and what others wrote."""
    found = (path.relative_to(ROOT) for folder in folders for path in (ROOT / folder).rglob("*.py"))
    return sorted(ROOT / path for path in found if not any(part.startswith(".") for part in path.parts))


PRODUCT = python_files("droned")
MODULES = {module_name(path): path for path in PRODUCT}


def inside(module: str, packages: tuple[str, ...]) -> bool:
    """Is `module` one of `packages` or below one of them?"""
    return any(module == package or module.startswith(f"{package}.") for package in packages)


@cache
def imports_of(module: str) -> tuple[tuple[int, str], ...]:
    """Each (line, dotted name) that `module` imports, wherever the import stands.

    `from a.b import c` gives `a.b` where c is a name in a module of ours, else `a.b.c`: of a module of others
    we cannot know whether `c` is a module.
    """
    return tuple(_imports_of(module))


def _imports_of(module: str) -> Iterator[tuple[int, str]]:
    path = MODULES[module]
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(tree_of(path)):
        match node:
            case ast.Import(names=names):
                for alias in names:
                    yield node.lineno, alias.name
            case ast.ImportFrom(module=source, names=names, level=level):
                base = source or ""
                if level:
                    above = package.split(".")[: len(package.split(".")) - level + 1]
                    base = ".".join([*above, base] if base else above)
                for alias in names:
                    full = f"{base}.{alias.name}"
                    if not inside(base, ("droned",)) or full in MODULES:
                        yield node.lineno, full
                    else:
                        yield node.lineno, base
            case ast.Call(func=ast.Attribute(attr="import_module"), args=[ast.Constant(value=str(name)), *_]):
                yield node.lineno, name
            case ast.Call(func=ast.Name(id="__import__"), args=[ast.Constant(value=str(name)), *_]):
                yield node.lineno, name


def package_of(module: str) -> str:
    """The package (or single module) directly below `droned` that `module` is in; "" for droned itself."""
    return module.split(".")[1] if "." in module else ""


def allowed_to(module: str) -> tuple[str, ...]:
    """All of droned that `module` may import, its own package included."""
    own = package_of(module)
    granted = tuple(name for key, names in GRANTED.items() if inside(module, (key,)) for name in names)
    if own in BESIDE:
        return (f"droned.{own}", *BESIDE[own], *granted)
    left: list[str] = []
    for layer in LAYERS:
        if own in layer:
            return (f"droned.{own}", *left, *granted)
        left += [f"droned.{name}" for name in layer]
    return ()


def report(found: list[str]) -> None:
    assert not found, "\n" + "\n".join(found)


def where(module: str, line: int) -> str:
    return f"{MODULES[module].relative_to(ROOT)}:{line}"


def test_every_package_has_its_place_in_the_table() -> None:
    known = {name for layer in LAYERS for name in layer} | set(BESIDE)
    assert {package_of(module) for module in MODULES} - {""} <= known


def test_imports_follow_the_arrows() -> None:
    report(
        [
            f"{where(module, line)}: droned.{package_of(module)} may not import {name}"
            for module in MODULES
            for line, name in imports_of(module)
            if inside(name, ("droned",)) and not inside(name, allowed_to(module))
        ]
    )


def test_what_decides_never_touches_the_world() -> None:
    report(
        [
            f"{where(module, line)}: a package up to commands may not import {name}"
            for module in MODULES
            if package_of(module) in PURE
            for line, name in imports_of(module)
            if inside(name, IMPURE_MODULES)
        ]
    )


def test_twisted_stays_out_of_the_small_programs() -> None:
    report(
        [
            f"{where(module, line)}: {name} in droned.{package_of(module)}"
            for module in MODULES
            if package_of(module) in WITHOUT_TWISTED
            for line, name in imports_of(module)
            if inside(name, ("twisted",))
        ]
    )


def test_guardian_and_logs_need_the_standard_library_alone() -> None:
    report(
        [
            f"{where(module, line)}: {name} is not in the standard library"
            for module in MODULES
            if package_of(module) in STANDARD_LIBRARY_ONLY
            for line, name in imports_of(module)
            if not inside(name, ("droned",)) and name.split(".")[0] not in sys.stdlib_module_names
        ]
    )


def test_yaml_is_read_by_the_loader_alone() -> None:
    report(
        [
            f"{where(module, line)}: {name} outside of {', '.join(YAML_MODULES)}"
            for module in MODULES
            if module not in YAML_MODULES
            for line, name in imports_of(module)
            if inside(name, ("yaml",))
        ]
    )


def test_only_the_daemons_main_knows_the_global_reactor() -> None:
    report(
        [
            f"{where(module, line)}: {name} outside of {', '.join(REACTOR_MODULES)}"
            for module in MODULES
            if module not in REACTOR_MODULES
            for line, name in imports_of(module)
            if inside(name, ("twisted.internet.reactor",))
        ]
    )


def test_droned_itself_is_empty() -> None:
    assert (ROOT / "droned/__init__.py").read_bytes() == b""


def test_files_can_be_read_in_one_sitting() -> None:
    lengths = {
        path: len(path.read_text("utf-8").splitlines())
        for path in python_files("droned", "tests", "benchmarks")
    }
    report(
        [
            f"{path.relative_to(ROOT)}: {lines} lines, the limit is {LONGEST_FILE}"
            for path, lines in lengths.items()
            if lines > LONGEST_FILE
        ]
    )


def banned_in(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Each (line, what) of a call or import that never comes in."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                for alias in names:
                    if alias.name.split(".")[0] in BANNED_MODULES:
                        yield node.lineno, alias.name
            case ast.ImportFrom(module=str(source)) if source.split(".")[0] in BANNED_MODULES:
                yield node.lineno, source
            case ast.Call(func=ast.Name(id=name)) if name in BANNED_BUILTINS:
                yield node.lineno, f"{name}()"
            case ast.Attribute(value=ast.Name(id=owner), attr=name) if (owner, name) in BANNED_ATTRIBUTES:
                yield node.lineno, f"{owner}.{name}"
            case ast.keyword(arg="shell", value=ast.Constant(value=True)):
                yield node.value.lineno, "shell=True"


def test_banned_calls_are_nowhere() -> None:
    report(
        [
            f"{path.relative_to(ROOT)}:{line}: {what}"
            for path in PRODUCT
            for line, what in banned_in(tree_of(path))
        ]
    )


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from marshal import loads",
        "def f():\n    return eval('1')",
        "exec(compile('', '', 'exec'))",
        "import yaml\nyaml.load(text)",
        "import subprocess\nsubprocess.run('ls', shell=True)",
        "import os\nos.system('ls')",
    ],
)
def test_the_ban_sees(source: str) -> None:
    assert list(banned_in(ast.parse(source)))


def modules_after(code: str, *options: str) -> set[str]:
    """The names in `sys.modules` after a fresh interpreter ran `code` with the tree's root on its path."""
    tell = "import json; print(json.dumps(sorted(sys.modules)))"
    text = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{code}\n{tell}"
    done = subprocess.run(
        [sys.executable, *options, "-c", text], capture_output=True, text=True, check=True, timeout=60
    )
    return set(json.loads(done.stdout))


def test_dronectl_starts_without_twisted() -> None:
    """Every verb's module counts: a verb is imported only when used, and may not bring the daemon along."""
    names = sorted(name for name in MODULES if inside(name, ("droned.ctl",)) and "__main__" not in name)
    loaded = modules_after("\n".join(f"import {name}" for name in names), "-I")
    assert not [name for name in loaded if inside(name, ("twisted", "droned.daemon", "droned.services"))]


def test_the_guardian_loads_nothing_of_others() -> None:
    names = sorted(name for name in MODULES if inside(name, ("droned.guardian",)) and "__main__" not in name)
    loaded = modules_after("\n".join(f"import {name}" for name in names), "-I", "-S", "-E")
    roots = {name.split(".")[0] for name in loaded} - {"__main__"}
    assert not {root for root in roots if root not in sys.stdlib_module_names} - {"droned"}
    assert not [
        name for name in loaded if name.startswith("droned.") and not inside(name, ("droned.guardian",))
    ]
