"""The fleet's certificates: who this machine is, and whom it talks to.

The folder is root's: what runs as the account can read it, and change nothing in it.
"""

import functools
import hashlib
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# The name in the server's own certificate. No worker can have it.
SERVER = "server"


@dataclass(frozen=True)
class Identity:
    """The files of one machine's certificate, and of the authority that it trusts."""

    authority: Path
    certificate: Path
    key: Path

    @classmethod
    def of(cls, folder: Path, role: str) -> "Identity":
        """`role` is `server` or `worker`."""
        return cls(folder / "ca.crt", folder / f"{role}.crt", folder / f"{role}.key")

    def context(self, protocol: int) -> ssl.SSLContext:
        """For one side of connections: TLS 1.3, and both sides show a certificate.

        The name in it is for whoever uses the connection to check: machines are reached by addresses.
        """
        return _context(self, protocol, self.state())

    def state(self) -> Any:
        """Changes with any of the files; None while one is missing."""
        try:
            found = [path.stat() for path in (self.authority, self.certificate, self.key)]
        except OSError:
            return None
        return tuple((one.st_ino, one.st_size, one.st_mtime_ns) for one in found)


@functools.lru_cache(8)
def _context(identity: Identity, protocol: int, _state: Any) -> ssl.SSLContext:
    """One for all connections, until one of the files is another: reading them takes milliseconds."""
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(identity.authority)
    context.load_cert_chain(identity.certificate, identity.key)
    context.sslsocket_class = Socket
    return context


def errors_stay_where_they_are(operation: Callable[..., Any]) -> Callable[..., Any]:
    """Recent Pythons leave an error of one connection to the next: whoever goes takes another along.

    OpenSSL keeps a failed system call in mind for the thread, where the next connection that has
    nothing to read yet takes it for its own, and is closed.
    """

    @functools.wraps(operation)
    def done(self: ssl.SSLSocket, *arguments: Any, **options: Any) -> Any:
        try:
            return operation(self, *arguments, **options)
        except OSError as error:
            if not isinstance(error, ssl.SSLError):
                # Python has no call for it alone: it forgets them all before it makes a connection.
                self.context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), self.server_side)
            raise

    return done


class Socket(ssl.SSLSocket):
    """All that is done with OpenSSL on connections of the fleet."""

    do_handshake = errors_stay_where_they_are(ssl.SSLSocket.do_handshake)
    read = errors_stay_where_they_are(ssl.SSLSocket.read)
    send = errors_stay_where_they_are(ssl.SSLSocket.send)


@dataclass(frozen=True)
class Peer:
    """Who is at the other end of a connection, once its certificate was verified."""

    name: str
    fingerprint: str  # SHA-256 of the certificate: a machine that joins again has another one

    @classmethod
    def of(cls, connection: Any) -> "Peer":
        """`connection` is an `ssl.SSLSocket` whose handshake is done."""
        subject = (connection.getpeercert() or {}).get("subject", ())
        names = [value for part in subject for key, value in part if key == "commonName"]
        encoded = connection.getpeercert(binary_form=True) or b""
        return cls(names[0] if names else "", hashlib.sha256(encoded).hexdigest())
