"""Who a child is to be: users and groups found, taken and verified. All of it happens in the child.

Names are looked up here and not by the daemon, because a name service may
hang; only this child waits then.
"""

import errno
import grp
import os
import pwd

from droned.guardian import processes

PERSONAL = (b"HOME", b"USER", b"LOGNAME", b"SHELL")


def own_entry() -> pwd.struct_passwd | None:
    """Our own line of /etc/passwd, read without a name service, which could hang the guardian."""
    text = processes.read_whole("/etc/passwd") or b""
    uid = str(os.geteuid())
    for line in text.decode("utf-8", "surrogateescape").splitlines():
        words = line.split(":")
        if len(words) == 7 and words[2] == uid and words[3].isdecimal():
            return pwd.struct_passwd((*words[:2], int(uid), int(words[3]), *words[4:]))
    return None


class Identity:
    """The user, group and groups of one child: null keeps what the guardian has, or what the user implies."""

    __slots__ = ("_entry", "_gid", "_group", "_groups", "_uid", "_user", "_wanted_groups")

    def __init__(
        self, user: str | int | None, group: str | int | None, groups: list[str | int] | None
    ) -> None:
        self._user = user
        self._group = group
        self._wanted_groups = groups
        self._entry: pwd.struct_passwd | None = None
        self._uid = self._gid = -1
        self._groups: list[int] = []

    @property
    def is_asked_for(self) -> bool:
        """Whether anything is to change."""
        return self._user is not None or self._group is not None or self._wanted_groups is not None

    def find_user(self) -> None:
        """Look the user up; OSError ENOENT for a name that is not known."""
        if self._user is None:
            self._uid = os.geteuid()
            return
        number = _as_number(self._user)
        if number is None:
            try:
                self._entry = pwd.getpwnam(str(self._user))
            except KeyError:
                raise OSError(errno.ENOENT, "no such user") from None
            self._uid = self._entry.pw_uid
            return
        self._uid = number
        try:
            self._entry = pwd.getpwuid(number)
        except KeyError:
            pass  # a number may stand for itself

    def find_group(self) -> None:
        """Look the group up, or take the user's own; OSError ENOENT where neither says one."""
        if self._group is not None:
            self._gid = _group_number(self._group)
        elif self._entry is not None:
            self._gid = self._entry.pw_gid
        elif self._user is not None:
            # A bare number that no entry describes: guessing could leave it with root's group.
            raise OSError(errno.ENOENT, "no group")
        else:
            self._gid = os.getegid()

    def find_groups(self) -> None:
        """Look the supplementary groups up, or take all that the user is a member of."""
        if self._wanted_groups is not None:
            self._groups = [_group_number(group) for group in self._wanted_groups]
        elif self._entry is not None:
            self._groups = os.getgrouplist(self._entry.pw_name, self._gid)
        else:
            self._groups = [self._gid]

    def take(self, streams: list[int]) -> None:
        """Become that user for good; the output files `streams` become the user's too."""
        for fd in streams:
            if os.fstat(fd).st_uid != self._uid:
                os.fchown(fd, self._uid, -1)  # else the app could not open /dev/stdout anew
        if os.geteuid() != 0 and self._uid == os.geteuid() and self._wanted_groups is None:
            self._groups = os.getgroups()  # without privileges and without a change: what we have
        elif set(self._groups) != set(os.getgroups()):
            os.setgroups(self._groups)
        os.setresgid(self._gid, self._gid, self._gid)
        os.setresuid(self._uid, self._uid, self._uid)

    def verify(self) -> None:
        """Look whether all of it is so and root is out of reach; OSError EPERM when not."""
        if (
            os.getresuid() != (self._uid,) * 3
            or os.getresgid() != (self._gid,) * 3
            or set(os.getgroups()) != set(self._groups)
        ):
            raise OSError(errno.EPERM, "not the user that was asked for")
        if self._uid == 0:
            return
        for change, own in ((os.setresuid, self._uid), (os.setresgid, self._gid)):
            if own == 0:
                continue
            try:
                change(-1, 0, -1)
            except PermissionError:
                continue
            raise OSError(errno.EPERM, "the way back to root is open")

    def describe(self, env: dict[bytes, bytes]) -> None:
        """Complete `env` with what is usual of the user that this process is now."""
        entry = self._entry
        if entry is None:
            try:
                entry = pwd.getpwuid(os.geteuid())
            except KeyError:
                return  # a user without an entry has no home to tell of
        personalize(env, entry)


def personalize(env: dict[bytes, bytes], entry: pwd.struct_passwd) -> None:
    """Add to `env` what is usual of a user and not in there."""
    values = (entry.pw_dir, entry.pw_name, entry.pw_name, entry.pw_shell or "/bin/sh")
    for name, value in zip(PERSONAL, values, strict=True):
        env.setdefault(name, value.encode("utf-8", "surrogateescape"))


def _as_number(name: str | int) -> int | None:
    if isinstance(name, int):
        return name
    return int(name) if name.isdecimal() else None


def _group_number(group: str | int) -> int:
    number = _as_number(group)
    if number is not None:
        return number
    try:
        return grp.getgrnam(str(group)).gr_gid
    except KeyError:
        raise OSError(errno.ENOENT, "no such group") from None
