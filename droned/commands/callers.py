"""Who may do what on the local socket.

The kernel says who is at the other end; nothing that a client sends is
believed. Root, the user that droned runs as, and the members of the socket's
group administer. Nobody else could connect in the first place; they are told
so all the same, should somebody have opened the socket's mode by hand.
"""

from __future__ import annotations

from msgspec import Struct

from droned.commands.table import Role


class Peer(Struct, frozen=True, kw_only=True):
    """The process at the other end of a connection, as the kernel knows it."""

    uid: int
    gid: int
    groups: frozenset[int] | None
    """Its supplementary groups; None where the kernel does not tell."""


def role_of(peer: Peer, *, own_uid: int, socket_gid: int) -> Role | None:
    """What `peer` may do; None is nothing.

    Where its groups are unknown, that it could connect is taken as the proof.
    """
    may = (
        peer.uid in (0, own_uid) or peer.gid == socket_gid or peer.groups is None or socket_gid in peer.groups
    )
    return Role.ADMIN if may else None


def actor_text(uid: int, name: str | None) -> str:
    """How events name a user of this host: `root`, `alice (uid 1000)`, `uid 1000` when it has no name."""
    if uid == 0:
        return "root"
    return f"uid {uid}" if name is None else f"{name} (uid {uid})"
