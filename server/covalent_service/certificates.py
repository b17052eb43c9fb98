"""The fleet's certificates: who this machine is, and whom it talks to.

The folder is root's: what runs as the account can read it, and change nothing in it.
"""

import hashlib
import ssl
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
        context = ssl.SSLContext(protocol)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.check_hostname = False
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(self.authority)
        context.load_cert_chain(self.certificate, self.key)
        return context

    def state(self) -> Any:
        """Changes with any of the files; None while one is missing."""
        try:
            found = [path.stat() for path in (self.authority, self.certificate, self.key)]
        except OSError:
            return None
        return [(one.st_ino, one.st_size, one.st_mtime_ns) for one in found]


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
