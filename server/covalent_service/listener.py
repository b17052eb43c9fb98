"""The listening socket: bound before anything else is touched.

Covalent binds last. A second server that then finds the port taken has by that time
opened the database, and on its way out it cancels every workflow that the first one runs.
"""

import errno
import os
import pwd
import socket
from pathlib import Path

from covalent_service.refusal import NEEDS_ATTENTION, Refusal

BACKLOG = 2048  # uvicorn's own default
LISTENING = "0A"  # the state column of /proc/net/tcp


def bind(host: str, port: int) -> socket.socket:
    """Listen on `host` and `port`, or refuse with the reason."""
    try:
        address = socket.getaddrinfo(host, port, socket.AF_INET, socket.SOCK_STREAM)[0][4]
    except OSError as error:
        raise Refusal(
            f"{host} does not resolve to an IPv4 address ({error.strerror}): "
            + (
                "add the line '127.0.0.1 localhost' to /etc/hosts"
                if host == "localhost"
                else "correct COVALENT_DISPATCHER_ADDR, or the name service"
            )
        ) from None
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise _refusal(error, host, port) from None
    # A child that outlives the server must not keep the port.
    os.register_at_fork(after_in_child=lambda: _close(listener))
    return listener


def _close(listener: socket.socket) -> None:
    descriptor = listener.detach()  # close() waits for the event loop, which the child lacks
    if descriptor >= 0:
        os.close(descriptor)


def _refusal(error: OSError, host: str, port: int) -> Refusal:
    if error.errno == errno.EADDRINUSE:
        return Refusal(
            f"port {port} on {host} is taken by {holder(port)}: "
            "stop that, or set COVALENT_SVC_PORT to a free port"
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return Refusal(
            f"{host} is not an address of this machine, so port {port} cannot be opened on it: "
            # At boot it may become one: no reason to give up at once.
            "correct COVALENT_DISPATCHER_ADDR, or set COVALENT_SERVER_IFACE_ANY=1 as well",
        )
    if error.errno == errno.EACCES:
        return Refusal(
            f"port {port} needs more rights than this user has: "
            "set COVALENT_SVC_PORT to a port from 1024 on",
            NEEDS_ATTENTION,
        )
    return Refusal(f"cannot listen on port {port} of {host}: {error.strerror}")


def holder(port: int, proc: Path = Path("/proc")) -> str:
    """Who listens on the port, as exactly as this user may know."""
    sockets = _sockets(port, proc)
    for inode, _ in sockets:
        for descriptor in proc.glob("[0-9]*/fd/*"):
            try:
                found = os.readlink(descriptor) == f"socket:[{inode}]"
            except OSError:  # gone, or another user's
                continue
            if found:
                process = descriptor.parent.parent
                return f"process {process.name} ({_command(process)})"
    if sockets:
        return f"a process of user {_user(sockets[0][1])}"
    return "another process"


def _sockets(port: int, proc: Path) -> list[tuple[str, int]]:
    """(inode, uid) of every listening socket of the port."""
    sockets = []
    for table in ("net/tcp", "net/tcp6"):
        try:
            lines = (proc / table).read_text().splitlines()[1:]
        except OSError:
            continue
        for fields in map(str.split, lines):
            if fields[3] == LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
                sockets.append((fields[9], int(fields[7])))
    return sockets


def _command(process: Path) -> str:
    try:
        words = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        words = ""
    return words.strip() or "command unknown"


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
