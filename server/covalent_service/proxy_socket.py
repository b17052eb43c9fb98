"""The Unix socket by which a proxy with a login reaches the server (COVALENT_PROXY_SOCKET).

Who may open it, its folder says: a set-group-ID folder gives the socket its group, and lets nobody
else in. systemd keeps it during a restart as it keeps the other one, so that the proxy waits.
"""

import os
import socket
import stat
from pathlib import Path

from covalent_service import stored_socket
from covalent_service.listener import BACKLOG, close_in_children
from covalent_service.logs import SERVICE

MODE = 0o660


def bind(path: Path | None, stored: list[socket.socket]) -> socket.socket | None:
    """Listen at `path`, as one of those `stored` does already.

    Where that cannot be done, the server goes on without it: whoever is on this machine needs it.
    """
    kept = stored_socket.the_one_at(socket.AF_UNIX, str(path), stored)
    if kept and path and not _is_socket(path):
        kept.close()  # its folder has been made anew since
        kept = None
    if path is None:
        return None
    try:
        listener = kept or _new(path)
    except OSError as error:
        SERVICE.error(
            "the socket %s for the proxy cannot be made (%s): nobody gets in by https until the folder "
            "is there and this account may write to it; then: systemctl restart covalent",
            path,
            error.strerror,
        )
        return None
    close_in_children(listener)
    return listener


def _new(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if _is_socket(path):
            path.unlink()  # of a server that was stopped: this one alone has the port
        listener.bind(str(path))
        path.chmod(MODE)
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def _is_socket(path: Path) -> bool:
    try:
        return stat.S_ISSOCK(os.lstat(path).st_mode)
    except OSError:
        return False
