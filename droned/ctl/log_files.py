"""Where captured output lies: said when no daemon answers that could show it."""

from __future__ import annotations

import os

from droned.ctl.failures import Unreachable
from droned.ctl.session import Session
from droned.errors import DronedError


def with_files(gone: Unreachable, session: Session) -> Unreachable:
    """The same error, which says where captured output lies as far as that is known and can be seen."""
    folder = _folder(session)
    if folder is None:
        return gone
    return Unreachable(f"{gone}; what was captured is in {folder}/APP/LABEL", **gone.facts)


def _folder(session: Session) -> str | None:
    """The folder of logs of the daemon that is meant."""
    from droned.ctl.daemon_life import home_of
    from droned.models.places import places_of

    sockets = session.sockets()
    home = home_of(sockets)
    if home is None:
        try:
            places = places_of(os.geteuid(), session.environ)
        except DronedError:
            return None
        if places.socket not in sockets:
            return None
        home = places.state_dir
    folder = f"{home}/logs"
    return folder if os.path.isdir(folder) else None
