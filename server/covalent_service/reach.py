"""Whether the fleet's port of the server answers this machine, and if not, why: in a sentence."""

import socket
import ssl
from ipaddress import ip_address

from covalent_service.certificates import SERVER, Identity, Peer

TIMEOUT = 10  # seconds
# What OpenSSL says, and what it means here; NAME is this machine's in the fleet.
CAUSES = {
    "UNKNOWN_CA": (
        "the server does not know this machine's certificate: type covalentctl worker add NAME "
        "there, and covalentctl join here"
    ),
    "CERTIFICATE_EXPIRED": (
        "this machine's certificate has expired: type covalentctl worker add NAME on the server, "
        "and covalentctl join here"
    ),
    "ALERT_BAD_CERTIFICATE": (
        "this machine's certificate is not valid yet by the server's clock: compare the clocks"
    ),
    "not yet valid": (
        "the server's certificate is not valid yet by this machine's clock: compare the clocks"
    ),
    "has expired": (
        "the server's certificate has expired: type covalentctl doctor there, and see whether the "
        "clocks agree"
    ),
    "CERTIFICATE_VERIFY_FAILED": "what answers there is not the server that this machine joined",
    "WRONG_VERSION_NUMBER": "what answers there does not speak TLS: is that the fleet's port?",
    "RECORD_LAYER_FAILURE": "what answers there does not speak TLS: is that the fleet's port?",
}
OFF_THE_LIST = (
    "the server has taken this machine off its list: type covalentctl worker add NAME there, and "
    "covalentctl join here, to have it back"
)


class Waiting(Exception):
    """Why this machine waits for its server; it tries again."""


def own_address(server: str, name: str, identity: Identity) -> str:
    """The address of this machine that leads to the server, once that has let it in."""
    host, _, port = server.rpartition(":")
    try:
        context = identity.context(ssl.PROTOCOL_TLS_CLIENT)
    except OSError as error:
        raise Waiting(
            f"this machine's certificate cannot be read ({error.strerror or error}): type "
            "covalentctl join"
        ) from None
    try:
        with (
            socket.create_connection((host.strip("[]"), int(port)), TIMEOUT) as plain,
            context.wrap_socket(plain) as secure,
        ):
            if Peer.of(secure).name != SERVER:
                raise Waiting(CAUSES["CERTIFICATE_VERIFY_FAILED"])
            # With TLS 1.3 a client learns that it is refused as it reads; Dask speaks first.
            if not secure.recv(1):
                raise Waiting(OFF_THE_LIST.replace("NAME", name))
            return str(secure.getsockname()[0])
    except ssl.SSLError as error:
        text = str(error)
        cause = next((CAUSES[key] for key in CAUSES if key in text), text)
        raise Waiting(cause.replace("NAME", name)) from None
    except socket.gaierror:
        raise Waiting(f"the name {host} is not known here") from None
    except OSError as error:
        raise Waiting(error.strerror or str(error) or type(error).__name__) from None


def contact(address: str) -> str:
    """The same address, if the server can connect to it without naming an interface."""
    found = ip_address(address)
    if found.version == 6 and found.is_link_local:
        raise Waiting(
            f"this machine reaches it from {found}, a link-local address, which the server cannot "
            "connect to: name another address of the server (COVALENT_SERVER) or of this machine "
            "(COVALENT_WORKER_ADDRESS) in /etc/covalent/worker.env"
        )
    return address
