"""The local socket: its modes, what may stand in its place, and who may use it."""

import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from droned.drivers.local_socket import listen, peer_of, remove, socket_group
from droned.errors import CannotRun
from tests.live.api_client import ROOT, Wire, serving
from tests.running import SOCKET_MODE

pytestmark = pytest.mark.live

NOBODY = 65534
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="changes users")
OWN_GROUP = os.getegid()


def mode_of(path: Path | str) -> int:
    return stat.S_IMODE(os.lstat(path).st_mode)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_socket_and_folder_have_their_modes_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        local = listen(str(tmp_path / "run" / "d.sock"), OWN_GROUP)
    finally:
        assert os.umask(before) == umask
    assert mode_of(local.path) == SOCKET_MODE
    assert mode_of(tmp_path / "run") == 0o750
    assert os.lstat(local.path).st_gid == OWN_GROUP
    local.socket.close()


OBSERVER = """
import os, stat, sys
seen = set()
print("go", flush=True)
while not os.path.exists(sys.argv[2]):
    try:
        seen.add(stat.S_IMODE(os.lstat(sys.argv[1]).st_mode))
    except OSError:
        pass
print(*sorted(seen))
"""


def test_nobody_can_connect_before_the_mode_is_right(tmp_path: Path) -> None:
    """An observer that tries all the time never meets a socket that others could use."""
    path = tmp_path / "d.sock"
    observer = subprocess.Popen(
        [
            sys.executable,
            "-c",
            OBSERVER,
            str(path),
            str(tmp_path / "over"),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert observer.stdout is not None
    observer.stdout.readline()
    for _ in range(2_000):
        local = listen(str(path), OWN_GROUP)
        remove(local)
        local.socket.close()
    (tmp_path / "over").touch()
    seen, _ = observer.communicate(timeout=30)
    assert {int(mode) for mode in seen.split()} <= {0o600, 0o660}


def test_a_socket_that_nobody_answers_on_is_replaced(tmp_path: Path) -> None:
    path = str(tmp_path / "d.sock")
    listen(path, OWN_GROUP).socket.close()
    assert os.path.exists(path)
    local = listen(path, OWN_GROUP)
    with Wire(path):
        pass
    local.socket.close()


def test_a_socket_that_is_answered_is_left_alone(tmp_path: Path) -> None:
    path = str(tmp_path / "d.sock")
    local = listen(path, OWN_GROUP)
    inode = os.lstat(path).st_ino
    with pytest.raises(CannotRun, match="another program answers there"):
        listen(path, OWN_GROUP)
    assert os.lstat(path).st_ino == inode
    local.socket.close()


def test_a_full_queue_is_an_answer_too(tmp_path: Path) -> None:
    path = str(tmp_path / "d.sock")
    local = listen(path, OWN_GROUP, backlog=0)
    crowd = [socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) for _ in range(4)]
    for end in crowd:
        end.setblocking(False)
        end.connect_ex(path)
    with pytest.raises(CannotRun, match="another program answers there"):
        listen(path, OWN_GROUP)
    for end in crowd:
        end.close()
    local.socket.close()


@pytest.mark.parametrize("kind", ["file", "folder", "link", "dangling", "fifo"])
def test_what_is_no_socket_of_ours_is_never_touched(tmp_path: Path, kind: str) -> None:
    path, other = tmp_path / "d.sock", tmp_path / "other"
    other.write_text("precious")
    match kind:
        case "file":
            path.write_text("precious")
        case "folder":
            path.mkdir()
        case "link":
            path.symlink_to(other)
        case "dangling":
            path.symlink_to(tmp_path / "nowhere")
        case _:
            os.mkfifo(path)
    before = os.lstat(path)
    with pytest.raises(CannotRun, match="something that is not a socket is there"):
        listen(str(path), OWN_GROUP)
    after = os.lstat(path)
    assert (after.st_ino, after.st_mode) == (before.st_ino, before.st_mode)
    assert other.read_text() == "precious"
    assert not (tmp_path / "nowhere").exists()


@needs_root
def test_a_socket_of_somebody_else_is_never_touched(tmp_path: Path) -> None:
    path = str(tmp_path / "d.sock")
    listen(path, OWN_GROUP).socket.close()
    os.chown(path, NOBODY, NOBODY)
    with pytest.raises(CannotRun, match="belongs to uid 65534"):
        listen(path, OWN_GROUP)
    assert os.path.exists(path)


@pytest.mark.parametrize(
    ("mode", "is_refused"), [(0o777, True), (0o757, True), (0o1777, False), (0o755, False)]
)
def test_a_folder_that_everybody_may_write_to_is_refused(tmp_path: Path, mode: int, is_refused: bool) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    folder.chmod(mode)
    if is_refused:
        with pytest.raises(CannotRun, match="everybody may write there; chmod o-w"):
            listen(str(folder / "d.sock"), OWN_GROUP)
    else:
        listen(str(folder / "d.sock"), OWN_GROUP).socket.close()
    assert mode_of(folder) == mode


@needs_root
def test_a_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir(mode=0o750)
    os.chown(folder, NOBODY, NOBODY)
    with pytest.raises(CannotRun, match="it belongs to uid 65534"):
        listen(str(folder / "d.sock"), OWN_GROUP)


def test_a_path_that_is_too_long_is_one_clear_line(tmp_path: Path) -> None:
    room = 107 - len(os.fsencode(tmp_path)) - 1
    listen(str(tmp_path / ("x" * room)), OWN_GROUP).socket.close()
    with pytest.raises(CannotRun) as caught:
        listen(str(tmp_path / ("x" * (room + 1))), OWN_GROUP)
    assert "108 bytes, and a socket's can have 107; choose a shorter one with --socket" in str(caught.value)


def test_a_folder_that_cannot_be_made_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CannotRun, match=r"cannot listen on .*: Not a directory"):
        listen(str(tmp_path / "file" / "run" / "d.sock"), OWN_GROUP)


def test_only_our_own_socket_is_taken_away(tmp_path: Path) -> None:
    path = str(tmp_path / "d.sock")
    local = listen(path, OWN_GROUP)
    local.socket.close()
    os.unlink(path)
    Path(path).write_text("somebody else's")
    remove(local)
    assert os.path.exists(path)
    os.unlink(path)
    remove(local)


def test_the_kernel_says_who_is_at_the_other_end() -> None:
    ours, theirs = socket.socketpair()
    peer = peer_of(ours)
    assert peer is not None
    assert (peer.uid, peer.gid) == (os.geteuid(), os.getegid())
    assert peer.groups == frozenset(os.getgroups())
    ours.close()
    theirs.close()


def test_the_socket_is_for_a_group_that_exists() -> None:
    assert isinstance(socket_group(), int)


def test_a_second_server_is_refused_and_the_first_serves_on(tmp_path: Path) -> None:
    with serving(tmp_path / "s", tmp_path, "--instances", "10") as first:
        with serving(tmp_path / "s", tmp_path, "--instances", "10") as second:
            assert "another program answers there" in second.first_line
        with Wire(first.path) as wire:
            assert len(wire.get("/instances")["instances"]) == 10


def test_a_server_takes_the_place_of_one_that_was_killed(tmp_path: Path) -> None:
    for _ in range(2):
        with serving(tmp_path / "s", tmp_path, "--instances", "10") as server:
            assert server.first_line == "ready"
            assert mode_of(server.path) == SOCKET_MODE
            server.kill()


ASK = """
import os, socket, sys, json
path, uid, gid, groups = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), json.loads(sys.argv[4])
os.setgroups(groups); os.setgid(gid); os.setuid(uid)
end = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
try:
    end.connect(path)
except PermissionError:
    print("no way in"); sys.exit()
body = b'{"command": "restart", "targets": ["web-000"]}'
end.sendall(b"POST /api/v1/actions HTTP/1.1\\r\\nHost: a\\r\\nContent-Type: application/json\\r\\n"
            b"Content-Length: %d\\r\\nConnection: close\\r\\n\\r\\n" % len(body) + body)
answer = b""
while piece := end.recv(65536):
    answer += piece
head, _, body = answer.partition(b"\\r\\n\\r\\n")
document = json.loads(body)
print(head.split()[1].decode(), document.get("result", {}).get("actor") or document["code"])
"""


def asked_as(path: str, uid: int, gid: int, *groups: int) -> str:
    command = [sys.executable, "-c", ASK, path, str(uid), str(gid), str(list(groups))]
    return subprocess.run(
        command, capture_output=True, text=True, check=True, cwd=ROOT, timeout=30
    ).stdout.strip()


@needs_root
def test_who_may_use_the_socket_is_decided_by_the_kernels_word(tmp_path: Path) -> None:
    for folder in (tmp_path, *tmp_path.parents):
        if not os.lstat(folder).st_mode & stat.S_IXOTH:
            folder.chmod(0o755)
    with serving(tmp_path / "run" / "s", tmp_path, "--instances", "10") as server:
        group = os.lstat(server.path).st_gid
        assert asked_as(server.path, 0, 0) == "202 root"
        assert asked_as(server.path, NOBODY, NOBODY) == "no way in"
        assert asked_as(server.path, NOBODY, group) == "202 nobody (uid 65534)"
        assert asked_as(server.path, NOBODY, NOBODY, group, 7) == "202 nobody (uid 65534)"
        assert asked_as(server.path, 54321, group) == "202 uid 54321"
        # Opened by hand, it still answers only those whom it is for.
        os.chmod(server.path, 0o666)
        os.chmod(tmp_path / "run", 0o755)
        assert asked_as(server.path, NOBODY, NOBODY) == "403 not-allowed"
