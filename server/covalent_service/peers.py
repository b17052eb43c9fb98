"""Which account holds the other end of a TCP connection of this machine: the kernel is asked.

The question is for one socket (sock_diag(7)), and takes some 20 microseconds however many there are.
The answer counts only while somebody has that socket open and it is the other end of a connection that
still exists. Who sends a request and is gone leaves a port that others may have by now: a connection of
root's, or a listener of another account's, would be taken for theirs.
"""

import errno
import functools
import os
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Any

from covalent_service.refusal import NEEDS_ATTENTION, Refusal

# <linux/netlink.h>, <linux/sock_diag.h>, <linux/rtnetlink.h>
NETLINK_ROUTE = 0
NETLINK_SOCK_DIAG = 4
NLM_F_REQUEST = 1
SOCK_DIAG_BY_FAMILY = 20
RTM_NEWROUTE = 24
RTM_GETROUTE = 26
RTA_DST = 1
RTN_LOCAL = 2
EVERY = 0xFFFFFFFF  # states; the two words of a cookie that is not known
HEADER = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, port
DIAG_REQUEST = struct.Struct("=BBBBI")  # inet_diag_req_v2, up to the addresses
DIAG_STATE = HEADER.size + 1
DIAG_OWNER = struct.Struct("=II")  # uid, inode
DIAG_OWNER_AT = HEADER.size + 4 + 48 + 12
ROUTE = struct.Struct("=BBBBBBBBI")  # rtmsg
ATTRIBUTE = struct.Struct("=HH")  # rtattr
ANSWER_SIZE = 4096  # bytes; both answers have some hundred

# <linux/tcp.h>: the far end of a connection that somebody may still read an answer from ...
ESTABLISHED, FIN_WAIT1, FIN_WAIT2, CLOSE_WAIT = 1, 4, 5, 8
FAR_END = (ESTABLISHED, FIN_WAIT1, FIN_WAIT2)
# ... and the near one, which is closed as soon as the other was closed by force.
NEAR_END = (ESTABLISHED, CLOSE_WAIT)

# user_namespaces(7)
OVERFLOW = Path("/proc/sys/kernel/overflowuid")
MAP = Path("/proc/self/uid_map")
WHOLE_MAP = ["0", "0", "4294967295"]

Address = IPv4Address | IPv6Address


@dataclass(frozen=True)
class End:
    """An address and a port, as of one end of a connection."""

    address: Address
    port: int
    scope: int = 0  # the interface of a link-local address

    @classmethod
    def of(cls, name: Any) -> "End":
        """From what `getpeername` and `getsockname` return."""
        address = ip_address(name[0].partition("%")[0])
        if isinstance(address, IPv6Address):
            # IPv4 in the clothes of IPv6: the kernel has the client's socket as one of IPv4.
            if mapped := address.ipv4_mapped:
                return cls(mapped, name[1])
            return cls(address, name[1], name[3] if address.is_link_local else 0)
        return cls(address, name[1])

    @property
    def family(self) -> int:
        return socket.AF_INET if self.address.version == 4 else socket.AF_INET6

    @property
    def is_here(self) -> bool:
        """Whether the address is one of this machine's own, in this network namespace."""
        packed = self.address.packed
        attribute = ATTRIBUTE.pack(ATTRIBUTE.size + len(packed), RTA_DST) + packed
        question = ROUTE.pack(self.family, 8 * len(packed), 0, 0, 0, 0, 0, 0, 0) + attribute
        answer = _ask(NETLINK_ROUTE, RTM_GETROUTE, question)
        if answer is None or _kind(answer) != RTM_NEWROUTE:
            return False  # no way leads there
        return ROUTE.unpack_from(answer, HEADER.size)[7] == RTN_LOCAL


class Connection:
    """One that a client has made to this server."""

    def __init__(self, near: Any, is_closed: Callable[[], bool]) -> None:
        """`near` is this end's socket, whose descriptor is another's as soon as it is closed."""
        self._near, self._is_closed = near, is_closed
        try:
            self.client: End | None = End.of(near.getpeername())
            self._server: End | None = End.of(near.getsockname())
        except OSError:  # gone already
            self.client = self._server = None

    def account(self) -> int | None:
        """The uid of whoever holds the client's end now; None where nobody can be named."""
        if self.client is None or self._server is None:
            return None
        uid = _owner(self.client, self._server)
        # In this order: as this end exists now, it did when the kernel was asked, and no other
        # connection had these two addresses.
        return uid if uid is not None and self._exists() and _is_known(uid) else None

    def _exists(self) -> bool:
        if self._is_closed():
            return False
        return self._near.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] in NEAR_END


def check() -> None:
    """Refuse a kernel that does not tell who holds a connection."""
    with socket.socket() as listener, socket.socket() as client:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        client.connect(listener.getsockname())
        near, _ = listener.accept()
        with near:
            if Connection(near, lambda: False).account() == os.geteuid():
                return
    raise Refusal(
        "the kernel does not say which account a connection is of (sock_diag(7)): type `modprobe "
        "tcp_diag`, or let every user of the machine in with COVALENT_LOCAL_GROUP= in covalent.env; "
        "then: systemctl restart covalent",
        NEEDS_ATTENTION,
    )


def _owner(client: End, server: End) -> int | None:
    """Whose the socket from the one to the other is, if somebody has it open."""
    found = _socket(client, server)
    # Without an inode no process has it any more; earlier kernels say uid 0 for such a one.
    return found.uid if found and found.inode and found.state in FAR_END else None


def _socket(client: End, server: End) -> "_Socket | None":
    """What the kernel has at these two addresses; if that is nothing, who listens at the first."""
    ends = [end.address.packed.ljust(16, b"\0") for end in (client, server)]
    question = (
        DIAG_REQUEST.pack(client.family, socket.IPPROTO_TCP, 0, 0, EVERY)
        + struct.pack("!HH", client.port, server.port)
        + b"".join(ends)
        + struct.pack("=III", client.scope, EVERY, EVERY)
    )
    answer = _ask(NETLINK_SOCK_DIAG, SOCK_DIAG_BY_FAMILY, question)
    if answer is None or _kind(answer) != SOCK_DIAG_BY_FAMILY:
        return None
    return _Socket(answer[DIAG_STATE], *DIAG_OWNER.unpack_from(answer, DIAG_OWNER_AT))


@dataclass(frozen=True)
class _Socket:
    state: int
    uid: int
    inode: int


def _ask(protocol: int, kind: int, question: bytes) -> bytes | None:
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol) as kernel:
            kernel.connect((0, 0))  # nobody else's answer is taken
            kernel.send(
                HEADER.pack(HEADER.size + len(question), kind, NLM_F_REQUEST, 1, 0) + question
            )
            return kernel.recv(ANSWER_SIZE)
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
            raise
        return None  # a kernel without it


def _kind(answer: bytes) -> int:
    return int(HEADER.unpack_from(answer)[1])


def _is_known(uid: int) -> bool:
    """Whether the number says who it is."""
    return uid != _anybody()


@functools.cache
def _anybody() -> int | None:
    """What stands for all accounts that this user namespace does not have, if there are any."""
    try:
        return None if MAP.read_text().split() == WHOLE_MAP else int(OVERFLOW.read_text())
    except OSError:
        return None
