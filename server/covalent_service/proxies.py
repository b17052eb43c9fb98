"""Keeps what the server and its tasks say to the server itself from going through a proxy."""

from collections.abc import MutableMapping

# Programs read the one or the other, some in both spellings.
EXCEPTIONS = ("no_proxy", "NO_PROXY")
LOOPBACK = ("localhost", "127.0.0.1", "::1", "[::1]")


def spare(environ: MutableMapping[str, str], address: str) -> None:
    """Add the addresses of this server to those that are reached without a proxy.

    Whether there is one is not asked: a task may set one for itself.
    """
    named = [value for name, value in environ.items() if name.lower() == "no_proxy"]
    given = [host.strip() for value in named for host in value.split(",")]
    hosts = [*given, *LOOPBACK, address, address.strip("[]")]
    value = ",".join(dict.fromkeys(filter(None, hosts)))
    environ.update(dict.fromkeys(EXCEPTIONS, value))
