"""The listening socket: bound before anything else is touched.

Covalent binds last. A second server that then finds the port taken has by that time
opened the database, and on its way out it cancels every workflow that the first one runs.
"""

import errno
import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from covalent_service import stored_socket
from covalent_service.account import account_name
from covalent_service.refusal import NEEDS_ATTENTION, Refusal

BACKLOG = 2048  # uvicorn's own default
# The state column of /proc/net/tcp (include/net/tcp_states.h).
LISTENING = "0A"
TIME_WAIT = "06"  # nobody's, and in nobody's way
CONNECTION = "a connection of "


def bind(host: str, port: int, stored: list[socket.socket] | None = None) -> socket.socket:
    """Listen on `host` and `port`, as one of those `stored` does already, or refuse with the reason.

    No host means every address.
    """
    stored = stored or []
    if not host:
        return _listen(*_everywhere(port), port, stored)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise Refusal(
            f"{host} does not resolve to an address ({error.strerror}): "
            + (
                "add the line '127.0.0.1 localhost' to /etc/hosts"
                if host == "localhost"
                else "correct COVALENT_DISPATCHER_ADDR, or the name service"
            )
        ) from None
    # IPv4 first: what is told "localhost", a proxy say, often means 127.0.0.1.
    family, *_, address = min(found, key=lambda one: one[0] != socket.AF_INET)
    return _listen(family, address, host, port, stored)


def _everywhere(port: int) -> tuple[socket.AddressFamily, Any, str]:
    """IPv6 with IPv4 in it, unless the kernel has IPv4 alone."""
    if socket.has_dualstack_ipv6():
        return socket.AF_INET6, ("::", port), "every address"
    return socket.AF_INET, ("0.0.0.0", port), "every address"


def _listen(
    family: socket.AddressFamily, address: Any, host: str, port: int, stored: list[socket.socket]
) -> socket.socket:
    kept = stored_socket.the_one_at(family, address, stored)
    listener = kept or _new(family, address, host, port)
    close_in_children(listener)
    return listener


def close_in_children(listener: socket.socket) -> None:
    """A child that outlives the server must not keep the port."""
    os.register_at_fork(after_in_child=lambda: _close(listener))


def _new(family: socket.AddressFamily, address: Any, host: str, port: int) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        # Whatever net.ipv6.bindv6only says.
        only = 0 if address[0] == "::" else 1
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only)
    try:
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise _refusal(error, host, port) from None
    return listener


def _close(listener: socket.socket) -> None:
    descriptor = listener.detach()  # close() waits for the event loop, which the child lacks
    if descriptor >= 0:
        os.close(descriptor)


def _refusal(error: OSError, host: str, port: int) -> Refusal:
    if error.errno == errno.EADDRINUSE:
        taken_by = holder(port)
        cure = "stop that, or set COVALENT_SVC_PORT to a free port"
        if taken_by.startswith(CONNECTION):
            cure = (
                "the server starts when that has ended; adding the port to "
                "net.ipv4.ip_local_reserved_ports (sysctl.d(5)) keeps connections from it"
            )
        return Refusal(f"port {port} on {host} is taken by {taken_by}: {cure}")
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
    """Who has the port, as exactly as this user may know."""
    sockets = sorted(_sockets(port, proc), key=lambda one: one.state != LISTENING)
    for one in sockets:
        for descriptor in proc.glob("[0-9]*/fd/*"):
            try:
                found = os.readlink(descriptor) == f"socket:[{one.inode}]"
            except OSError:  # gone, or another user's
                continue
            if found:
                process = descriptor.parent.parent
                return f"{one.what}process {process.name} ({_command(process)})"
    if sockets:
        return f"{sockets[0].what}a process of user {account_name(sockets[0].user)}"
    return "another process"


@dataclass(frozen=True)
class _Socket:
    """A line of proc_pid_net(5), tcp."""

    state: str
    user: int
    inode: str

    @property
    def what(self) -> str:
        """Outgoing connections have ports too, any of net.ipv4.ip_local_port_range."""
        return "" if self.state == LISTENING else CONNECTION


def _sockets(port: int, proc: Path) -> list[_Socket]:
    """Those with the port at this end that keep others from it."""
    sockets = []
    for table in ("net/tcp", "net/tcp6"):
        try:
            lines = (proc / table).read_text().splitlines()[1:]
        except OSError:
            continue
        for fields in map(str.split, lines):
            if int(fields[1].rpartition(":")[2], 16) == port and fields[3] != TIME_WAIT:
                sockets.append(_Socket(fields[3], int(fields[7]), fields[9]))
    return sockets


def _command(process: Path) -> str:
    try:
        words = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        words = ""
    return words.strip() or "command unknown"
