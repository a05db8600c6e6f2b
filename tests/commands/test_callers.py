"""Who may do what on the local socket."""

import pytest

from droned.commands.callers import Peer, actor_text, role_of
from droned.commands.table import Role


@pytest.mark.parametrize(
    ("peer", "role"),
    [
        (Peer(uid=0, gid=0, groups=frozenset()), Role.ADMIN),
        (Peer(uid=1000, gid=1000, groups=frozenset()), Role.ADMIN),
        (Peer(uid=1001, gid=70, groups=frozenset()), Role.ADMIN),
        (Peer(uid=1001, gid=1001, groups=frozenset({4, 70})), Role.ADMIN),
        (Peer(uid=1001, gid=1001, groups=None), Role.ADMIN),
        (Peer(uid=1001, gid=1001, groups=frozenset({4, 0})), None),
        (Peer(uid=65534, gid=65534, groups=frozenset()), None),
    ],
)
def test_root_ourselves_and_the_sockets_group_administer(peer: Peer, role: Role | None) -> None:
    assert role_of(peer, own_uid=1000, socket_gid=70) is role


def test_events_name_a_user_with_the_uid() -> None:
    assert actor_text(0, "toor") == "root"
    assert actor_text(1000, "alice") == "alice (uid 1000)"
    assert actor_text(1000, None) == "uid 1000"
