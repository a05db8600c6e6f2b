"""A cgroup v2 folder for each instance, where one can be made; no controllers are needed.

It holds every process of the instance, whatever session or parent that has
taken, tells when the last is gone, and kills all at once. The folders stand in
the guardian's own cgroup as `droned-STATE/INSTANCE` and stay over the runs of
an instance.
"""

import os
import time

from droned.guardian import kernel, processes

_PROBE = "probe/"
_TRIES = 5
_TRY_AGAIN_S = 0.005
_SAFE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")


def folder_name(instance: str) -> str:
    """A name for the folder of an instance; the "@" in it keeps clear of the kernel's own files.

    "web/0" gives "web@0".
    """
    quoted = "".join(
        character
        if character in _SAFE
        else "@"
        if character == "/"
        else "".join(f"%{byte:02X}" for byte in character.encode("utf-8", "surrogateescape"))
        for character in instance
    )
    return quoted if "@" in quoted else f"{quoted}@"


def _mount_point() -> tuple[str, str] | None:
    """Where cgroup v2 is mounted, and which of its folders is at the top there."""
    text = processes.read_whole("/proc/self/mountinfo") or b""
    for line in text.decode("utf-8", "surrogateescape").splitlines():
        before, _, after = line.partition(" - ")
        if after.startswith("cgroup2 "):
            words = before.split(" ")
            return words[4].encode().decode("unicode_escape"), words[3]
    return None


def _path_of(text: bytes | None) -> str | None:
    """The cgroup v2 path in a /proc/PID/cgroup."""
    for line in (text or b"").decode("utf-8", "surrogateescape").splitlines():
        if line.startswith("0::"):
            return line[3:].removesuffix(" (deleted)")
    return None


class Cgroups:
    """The folders of all instances below one base folder."""

    __slots__ = ("_instances", "_unwanted", "base", "base_path")

    def __init__(self, base: str, base_path: str) -> None:
        self.base = base  # in the file system
        self.base_path = base_path  # as /proc/PID/cgroup names it
        self._instances: dict[str, str] = {}
        self._unwanted: set[str] = set()

    # ---- folders

    def folder(self, instance: str) -> str:
        """The folder of an instance."""
        return f"{self.base}/{folder_name(instance)}"

    def expect(self, instance: str) -> str:
        """The folder of an instance, which somebody else makes."""
        self._unwanted.discard(instance)
        self._instances[folder_name(instance)] = instance
        return self.folder(instance)

    def remove(self, instance: str) -> None:
        """Remove the folder, now or as soon as nothing is in it any more."""
        self._instances.pop(folder_name(instance), None)
        if not self._remove_folder(self.folder(instance)):
            self._unwanted.add(instance)

    def remove_unwanted(self) -> None:
        """Try again what could not be removed before."""
        for instance in list(self._unwanted):
            if self._remove_folder(self.folder(instance)):
                self._unwanted.discard(instance)

    def remove_all(self) -> None:
        """Remove all folders that are empty, the base folder last; for the guardian's own end."""
        for _ in range(_TRIES):
            if self._remove_folder(self.base):
                return
            # Who has just died is taken out of its folder a moment after its parent was told.
            time.sleep(_TRY_AGAIN_S)

    @staticmethod
    def _remove_folder(folder: str) -> bool:
        for name in _subfolders(folder):  # an app may have made its own
            Cgroups._remove_folder(f"{folder}/{name}")
        try:
            os.rmdir(folder)
        except FileNotFoundError:
            pass
        except OSError:
            return False
        return True

    # ---- members

    def is_populated(self, instance: str) -> bool:
        """Whether any process is in the folder or below it."""
        return b"populated 1" in (processes.read(f"{self.folder(instance)}/cgroup.events") or b"")

    def members(self, instance: str) -> dict[int, int]:
        """The processes in the folder and below: pid → start time, dead ones left out."""
        found = {}
        for pid in self._listed(self.folder(instance)):
            process = processes.look(pid)
            # Asked after the look: a pid that changed hands since the listing is not in this folder.
            if process is not None and not process.is_dead and self.instance_of(pid) == instance:
                found[pid] = process.start_time
        return found

    def _listed(self, folder: str) -> list[int]:
        pids = [int(word) for word in (processes.read_whole(f"{folder}/cgroup.procs") or b"").split()]
        for name in _subfolders(folder):
            pids += self._listed(f"{folder}/{name}")
        return pids

    def instance_of(self, pid: int) -> str | None:
        """The instance in whose folder a process is; None when it is in none of ours."""
        path = _path_of(processes.read(f"/proc/{pid}/cgroup"))
        if path is None or not path.startswith(f"{self.base_path}/"):
            return None
        return self._instances.get(path[len(self.base_path) + 1 :].partition("/")[0])

    @staticmethod
    def is_with_us(pid: int) -> bool:
        """Whether a process is in the guardian's own cgroup."""
        path = _path_of(processes.read(f"/proc/{pid}/cgroup"))
        return path is not None and path == _path_of(processes.read("/proc/self/cgroup"))

    def kill(self, instance: str) -> bool:
        """Have the kernel kill all in the folder, even what is being forked just now; False if it cannot."""
        try:
            fd = os.open(f"{self.folder(instance)}/cgroup.kill", os.O_WRONLY | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            os.write(fd, b"1")
        except OSError:
            return False
        finally:
            os.close(fd)
        return True

    def open_events(self, instance: str) -> int:
        """A descriptor that becomes urgent (EPOLLPRI) when the folder fills or empties. Raises OSError."""
        fd = os.open(f"{self.folder(instance)}/cgroup.events", os.O_RDONLY | os.O_CLOEXEC)
        os.read(fd, 4096)  # arms it
        return fd


def _subfolders(folder: str) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []


def find(state_id: str, remembered: str | None) -> Cgroups | None:
    """A base folder that works: that of a guardian before us, else one in our own cgroup, else None."""
    mount = _mount_point()
    own = _path_of(processes.read("/proc/self/cgroup"))
    if "cgroup" in kernel.switched_off() or mount is None or own is None:
        return None
    point, top = mount
    candidates = [f"{own.rstrip('/')}/droned-{state_id}"]
    if remembered:
        candidates.insert(0, remembered)
    for path in candidates:
        below = path if top == "/" else path.removeprefix(top)
        if "/.." in path or (top != "/" and below == path):
            continue  # outside of what this mount shows
        base = point.rstrip("/") + below
        if path == remembered and not os.path.isdir(base):
            continue
        found = _tried(base, path)
        if found is not None:
            return found
    return None


def _tried(base: str, path: str) -> Cgroups | None:
    """The folders below `base` if a process can be put there; found out with a real one."""
    cgroups = Cgroups(base, path)
    try:
        os.makedirs(cgroups.expect(_PROBE), 0o755, exist_ok=True)
        if os.path.exists(f"{cgroups.folder(_PROBE)}/cgroup.events") and _puts_child(cgroups):
            return cgroups
    except OSError:
        return None
    finally:
        cgroups.remove(_PROBE)
        cgroups.remove_unwanted()
    return None


def _puts_child(cgroups: Cgroups) -> bool:
    """Whether a child can move itself there."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            with open(f"{cgroups.folder(_PROBE)}/cgroup.procs", "wb", buffering=0) as file:
                file.write(b"0")
            code = 0
        finally:
            os._exit(code)
    return os.waitpid(pid, 0)[1] == 0
