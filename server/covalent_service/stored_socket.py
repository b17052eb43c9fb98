"""The listening sockets, kept by systemd from one run of the server to the next.

During a restart, after a crash too, clients wait for the next server instead of being refused, and
nobody else can take the port. A stop lets it go. The unit's `FileDescriptorStoreMax=` makes room
for it; sd_notify(3) and sd_listen_fds(3) are what is spoken here.
"""

import os
import socket
from collections.abc import MutableMapping
from typing import Any

from covalent_service.notify import Notifier

FIRST = 3  # SD_LISTEN_FDS_START
NAME = "listener"


def store(notifier: Notifier, listener: socket.socket) -> None:
    """Hand it to systemd, which ignores what it has already."""
    notifier.send(f"FDSTORE=1\nFDNAME={NAME}", listener.fileno())


def taken_from(environ: MutableMapping[str, str]) -> list[socket.socket]:
    """What systemd kept; the variables are taken away, and no program that is started gets it."""
    process = environ.pop("LISTEN_PID", "")
    number = environ.pop("LISTEN_FDS", "")
    environ.pop("LISTEN_FDNAMES", None)
    if process != str(os.getpid()):
        return []
    found = []
    for descriptor in range(FIRST, FIRST + int(number)):
        os.set_inheritable(descriptor, False)
        try:
            found.append(socket.socket(fileno=descriptor))
        except OSError:  # no socket at all
            os.close(descriptor)
    return found


def by_kind(stored: list[socket.socket]) -> tuple[list[socket.socket], list[socket.socket]]:
    """The Unix sockets, and the others."""
    unix = [one for one in stored if one.family == socket.AF_UNIX]
    return unix, [one for one in stored if one.family != socket.AF_UNIX]


def the_one_at(
    family: socket.AddressFamily, address: Any, stored: list[socket.socket]
) -> socket.socket | None:
    """The one that listens there; every other one lets its port go, in systemd's keeping too."""
    chosen = None
    for one in stored:
        if _listens_at(one, family, address) and chosen is None:
            chosen = one
            continue
        if not _listens_at(one, family, address):
            _let_go(one)
        one.close()
    return chosen


def _let_go(one: socket.socket) -> None:
    try:
        one.shutdown(socket.SHUT_RDWR)  # systemd sees it, and closes its own
    except OSError:  # it listens nowhere
        pass


def _listens_at(one: socket.socket, family: socket.AddressFamily, address: Any) -> bool:
    return (
        (one.family, one.type) == (family, socket.SOCK_STREAM)
        and one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1
        and _is_at(one.getsockname(), address)
    )


def _is_at(name: Any, address: Any) -> bool:
    # That of IPv6 has more than a host and a port.
    return bool(name == address if isinstance(name, str) else name[: len(address)] == address)
